"""Signals save what there is and are told in one line of the truth."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from genjax_art import cli, interrupts

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.fixture(autouse=True)
def a_connection_that_can_be_lost():
    """Tests under nohup would have SIGHUP ignored, which is respected."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_two_signals_save_and_the_third_is_the_systems(capfd):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with interrupts.collecting() as caught:
        os.kill(os.getpid(), signal.SIGHUP)
        assert caught == [signal.SIGHUP]
        os.kill(os.getpid(), signal.SIGINT)
        assert caught == [signal.SIGHUP, signal.SIGINT]
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    first, second = capfd.readouterr().err.splitlines()
    assert "with a checkpoint" in first and "a third interruption ends it at once" in second


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.collecting() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert caught == []
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_line_of_the_truth(command, finished, monkeypatch, number):
    def interrupted(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("genjax_art.run.load.load_run", interrupted)
    ended = command("sample", finished)
    assert (ended.status, ended.err) == (128 + number, "interrupted\n")


class Loses:
    """Where an exception is lost: only a line on standard error would tell of it."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_interruption_that_is_lost_comes_again(capfd, monkeypatch):
    monkeypatch.setattr(interrupts, "AGAIN", 0.02)
    cleared = []

    def lose(how):
        with interrupts.raising():
            try:
                if how == "destructor":
                    Loses()
                else:
                    with contextlib.suppress(BaseException):
                        os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(20)
            finally:
                time.sleep(0.1)  # is not disturbed
                cleared.append(how)

    def make_another_of_it():
        with interrupts.raising():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except BaseException as error:
                raise RuntimeError("a library's own word") from error

    before = (sys.unraisablehook, signal.getsignal(signal.SIGALRM))
    for attempt in (lambda: lose("destructor"), lambda: lose("caught"), make_another_of_it):
        with pytest.raises(interrupts.Interrupted) as caught:
            attempt()
        assert caught.value.status == 128 + signal.SIGTERM
    assert cleared == ["destructor", "caught"] and capfd.readouterr().err == ""
    assert (sys.unraisablehook, signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


SCRIPTS = (("train.py",), ("sample.py",), ("-m", "genjax_art.evaluate"), ("-m", "genjax_art.benchmark"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda words: words[-1])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_script_is_imported_is_one_line(tmp_path, script, name):
    """The first module that is not our own or Python's sends it."""
    (tmp_path / "tyro.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    child = subprocess.run([sys.executable, *script], cwd=ROOT, env=environment, capture_output=True, text=True)
    expected = (128 + getattr(signal, name), "", "interrupted while it was starting\n")
    assert (child.returncode, child.stdout, child.stderr) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["evaluate", "benchmark.__main__"])
def test_a_signal_while_it_is_measured_is_one_line(capsys, monkeypatch, finished, module, number):
    def interrupted(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("genjax_art.run.load.load_run", interrupted)
    monkeypatch.setattr("genjax_art.benchmark.modes.main", interrupted)
    monkeypatch.setattr("sys.argv", ["", str(finished) if module == "evaluate" else "modes"])
    found = importlib.import_module(f"genjax_art.{module}")
    with pytest.raises(SystemExit) as end:
        cli.main(found.evaluate if module == "evaluate" else found.run)
    assert (end.value.code, *capsys.readouterr()) == (128 + number, "", "interrupted\n")
