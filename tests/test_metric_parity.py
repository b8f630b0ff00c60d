"""The same figures as other packages on the same features, and the benchmark that says so."""

import json

import pytest

from genjax_art.benchmark import metrics
from genjax_art.benchmark.peers import feature_metrics as peers
from genjax_art.errors import RunError

ROWS = peers.rows()


@pytest.mark.filterwarnings("ignore")  # peers use what their own dependencies have deprecated
@pytest.mark.parametrize("row", ROWS, ids=[f"{row.peer} {row.name}" for row in ROWS])
def test_parity(row):
    if not row.present:
        pytest.skip(f"{row.peer} is not installed")
    found = peers.check(row)
    assert found.ok, found


def test_parity_sees_a_difference_beyond_its_tolerance():
    for absolute, theirs in ((False, 100.0), (True, 1.0)):
        for ours, ok in ((theirs + 0.9e-6 * theirs, True), (theirs - 1.1e-6 * theirs, False)):
            row = peers.Row("prdc", "x", lambda ours=ours, theirs=theirs: (ours, theirs), 1e-6, absolute)
            assert peers.check(row).ok == ok


@pytest.fixture
def benchmark(monkeypatch):
    """The command, with two known cases and no peers, of which one side is measured small."""
    monkeypatch.setattr(metrics, "prepare_process", lambda: None)
    monkeypatch.setattr(metrics, "CASES", {name: metrics.CASES[name] for name in ("shifted", "noise")})
    monkeypatch.setattr(peers, "MODULES", dict.fromkeys(peers.MODULES, "not_there"))
    return metrics.main


def test_tables_are_printed_and_written(benchmark, tmp_path, capsys):
    benchmark(["--json", str(tmp_path / "out.json"), "--tables", "parity", "known"])
    report = json.loads((tmp_path / "out.json").read_text())
    assert {row["ok"] for row in report["known"]} == {True}
    assert {row["ok"] for row in report["parity"]} == {None}
    assert "shifted" in capsys.readouterr().out


def test_a_wrong_verdict_fails(benchmark, monkeypatch):
    monkeypatch.setattr(metrics, "CASES", {"noise": ("like the data",)})
    monkeypatch.setattr("genjax_art.benchmark.known_cases.CASES", {"noise": ("like the data",)})
    with pytest.raises(RunError, match="failed: known: noise"):
        benchmark(["--tables", "known"])


def test_cost_is_judged_beside_prdc(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(peers, "MODULES", dict.fromkeys(peers.MODULES, "json"))
    slow = {"first_s": 9.0, "again_s": 6.0, "peak_mib": 1200.0, "more_mib": 1000.0}
    quick = {"first_s": 3.0, "again_s": 1.9, "peak_mib": 400.0, "more_mib": 240.0}
    sides = {"ours": quick, "prdc": slow, "torch-fidelity": slow}
    monkeypatch.setattr(metrics, "_measured", lambda side, n, width: sides[side.split(",")[0]])
    benchmark(["--tables", "cost"])
    assert "3.2 times as fast in 24% of its memory  ok" in capsys.readouterr().out
    for worse in ({"again_s": 2.1}, {"more_mib": 260.0}):
        sides["ours"] = quick | worse
        with pytest.raises(RunError, match="ours beside prdc"):
            benchmark(["--tables", "cost"])


def test_one_side_is_measured_in_a_process_of_its_own():
    found = metrics._measured("ours, precision to coverage", 40, 3)
    assert 0 < found["again_s"] <= found["first_s"]
    assert 0 < found["more_mib"] < found["peak_mib"] < 5000
    with pytest.raises(RunError, match="nothing could not be measured: KeyError"):
        metrics._measured("nothing", 40, 3)
