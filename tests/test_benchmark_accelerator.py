"""The accelerator benchmark on CPU: its rows as they come, what fails, what has no time.

All of its parts run, small, in `.ci/run`.
"""

import json
import os

import pytest

from genjax_art.benchmark import accelerator
from genjax_art.benchmark.device import parity, row
from genjax_art.errors import RunError, UsageError
from genjax_art.train.process import CACHE_VARIABLE


def test_parts_run_in_processes_of_their_own_and_are_written_at_once(tmp_path, capsys):
    found = tmp_path / "rows.json"
    accelerator.main(["--tiny", "--only", "peaks", "--json", str(found)])
    rows = json.loads(found.read_text())
    assert [r["name"] for r in rows] == [
        "machine",
        "product bfloat16",
        "product tf32",
        "product float32",
        "copy",
        "took",
    ]
    assert all(r["part"] == "peaks" and r["holds"] is None for r in rows)
    assert rows[1]["values"]["tflops"] > 0
    assert capsys.readouterr().out.splitlines()[-1] == "no check fails in 6 rows"


def test_a_check_that_fails_is_named_at_the_end(tmp_path, monkeypatch):
    rows = [row.Row("good", {"x": 1}, True), row.Row("bad", {"x": 2}, False)]
    monkeypatch.setattr(
        accelerator, "rows_of", lambda name, command, seconds: [accelerator.line_of(name, r) for r in rows]
    )
    found = tmp_path / "rows.json"
    with pytest.raises(RunError, match="1 of 2 rows fail: parity: bad"):
        accelerator.main(["--only", "parity", "--json", str(found)])
    assert [r["holds"] for r in json.loads(found.read_text())] == [True, False]


def test_a_part_without_time_is_not_filled(tmp_path, capsys):
    files = ["--json", str(tmp_path / "rows.json"), "--out", str(tmp_path / "a/b")]
    accelerator.main(["--minutes", "0.1", "--only", "wide", *files])
    assert capsys.readouterr().out.splitlines()[-1] == "no check fails in 1 rows; without time: wide"
    assert json.loads((tmp_path / "rows.json").read_text())[0]["note"] == "not begun"
    assert (tmp_path / "a/b").is_dir()  # before anything is measured that would be written there
    with pytest.raises(UsageError, match="unknown part 'speed'"):
        accelerator.main(["--only", "speed"])


def test_differences_are_relative_to_what_is_expected():
    """A step of twice the parameters differs; the same step does not. So parity is able to fail."""
    import jax

    experiment = parity.small("mlp-vae")
    cpu = jax.local_devices(backend="cpu")[0]
    expected = parity.reference(experiment, (6, 6, 1), cpu)
    same = parity.step_differences(experiment, (6, 6, 1), expected)
    assert same
    assert max(same.values()) == 0
    narrow = row.in_precision(experiment, "bfloat16")
    other = parity.step_differences(narrow, (6, 6, 1), expected)
    assert 1e-6 < max(other.values()) < 0.05


def test_parts_have_the_processor_beside_the_device_and_what_is_timed_from_nothing_no_programs(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert accelerator.environment_of("parity")["JAX_PLATFORMS"] == "cuda,cpu"
    assert accelerator.environment_of("epochs")[CACHE_VARIABLE] == "off"
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert accelerator.environment_of("parity")["JAX_PLATFORMS"] == "cpu"
    assert accelerator.environment_of("steps").get(CACHE_VARIABLE) == os.environ.get(CACHE_VARIABLE)
