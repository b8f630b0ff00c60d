"""Signals save what there is and are told in one line of the truth."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from genjax_art import interrupts

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


def test_a_signal_while_a_script_is_imported_is_one_line(tmp_path):
    (tmp_path / "tyro.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    child = subprocess.run([sys.executable, "train.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (child.returncode, child.stdout, child.stderr) == (130, "", "interrupted while it was starting\n")
