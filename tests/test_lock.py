"""A run folder has one trainer, which notices when it is moved."""

import json
import os
import subprocess
import sys
import threading

import pytest
from conftest import ROOT
from tiny_run import contents, steps, train

from genjax_art.errors import RunError
from genjax_art.run import layout
from genjax_art.run.lock import LOCK, InUseError, lock_folder, start_time

pytestmark = pytest.mark.usefixtures("quick_runs", "compiled_once")


def in_another_process(folder):
    """What a second trainer finds; its process holds no lock of ours."""
    code = f"import pathlib, genjax_art.run.lock as lock\nwith lock.lock_folder(pathlib.Path({str(folder)!r})): pass"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_a_folder_has_one_writer(tmp_path):
    with lock_folder(tmp_path / "a" / "run"):
        with lock_folder(tmp_path / "a" / "run"):  # one within the other, as train.py and `run` do
            pass
        second = in_another_process(tmp_path / "a" / "run")
        assert second.returncode == 1 and f"is in use by process {os.getpid()} on" in second.stderr.splitlines()[-1]
    assert not (tmp_path / "a").exists()  # nothing was written, and nothing is left
    assert in_another_process(tmp_path / "a" / "run").returncode == 0


def in_use(folder):
    """Whether a thread, which is not within our lock, is refused."""
    found = []

    def look():
        try:
            with lock_folder(folder):
                found.append(False)
        except InUseError:
            found.append(True)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path):
    host = os.uname().nodename
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    parent = os.getppid()
    for holder, taken in (
        ({"pid": dead.pid, "host": host, "start": 0.0}, False),
        ({"pid": parent, "host": host, "start": start_time(parent)}, True),  # it lives, on a file system without locks
        ({"pid": parent, "host": host, "start": start_time(parent) - 1000}, False),  # its number was used again
        ({"pid": parent, "host": "elsewhere", "start": 0.0}, False),
        ("no lock", False),
    ):
        (tmp_path / LOCK).write_text(json.dumps(holder))
        assert in_use(tmp_path) is taken, holder


def test_runs_that_start_together_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    barrier, found = threading.Barrier(4), []

    def start():
        with layout.claim(None, "x", 5, resume=False) as folder:
            found.append(folder)
            barrier.wait(timeout=20)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == ["runs/x", "runs/x-2", "runs/x-3", "runs/x-4"]
    assert not list(tmp_path.glob("runs/*/*"))


def test_a_second_trainer_is_refused_and_changes_nothing(copied):
    with lock_folder(copied):
        before = contents(copied)
        found = []

        def second():
            try:
                train(copied, resume=True, steps=9)
            except RunError as error:
                found.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "is in use by process" in found[0]
        assert contents(copied) == before


def test_a_folder_that_moves_ends_the_run(tmp_path, monkeypatch):
    """Also while a checkpoint is written, which then is in neither place."""

    def move(state):
        if int(state.step) == 4:
            (tmp_path / "run").rename(tmp_path / "moved")
        return 0.0

    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: move)
    with pytest.raises(RunError, match="was moved or deleted"):
        train(tmp_path / "run", log_every=1)
    assert not (tmp_path / "run").exists()
    assert set(steps(tmp_path / "moved")) <= {2}
