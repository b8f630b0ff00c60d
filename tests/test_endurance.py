"""The watch over a long training sees what grows."""

import signal
import subprocess

import pytest

from genjax_art.benchmark import endurance
from genjax_art.errors import RunError


def test_what_grows_is_seen():
    steady, growing = [9.0] * 3 + [5.0] * 9, [float(i) for i in range(12)]
    assert endurance.grown(steady) == (5.0, 5.0) and endurance.grown(growing) == (4.0, 10.0)
    for name in endurance.MOST:
        assert endurance.row(name, steady)["fine"] and not endurance.row(name, growing)["fine"]
    assert endurance.row("open_files", [5.0, 5.0, 6.0, 7.0])["fine"]
    assert not endurance.row("memory_mb", [500.0] * 6 + [530.0] * 6)["fine"]


STAND_IN = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1])
folder.mkdir()
held = []
with open(folder / "metrics.jsonl", "w", buffering=1) as file:
    for step in range(8):
        held.append(bytearray(b"x" * 2**24))
        file.write(json.dumps({"step": step + 1, "images_per_second": 80.0}) + chr(10))
        time.sleep(0.2)
sys.exit(int(sys.argv[1] == "fails"))
"""


def test_what_a_training_has_as_it_ends_does_not_count(monkeypatch, tmp_path):
    """Its last look may find memory that is already given back."""
    looks = iter([None, None, None, 0])

    class Child(subprocess.Popen):
        def __init__(self):
            self.pid = "self"

        def poll(self):
            return next(looks)

    (tmp_path / "metrics.jsonl").touch()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    found = endurance.watched(Child(), tmp_path)
    assert [len(found[name]) for name in ("memory_mb", "open_files")] == [2, 2]


def test_a_training_ends_with_its_watch(monkeypatch, tmp_path):
    (tmp_path / "train.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr("genjax_art.benchmark.endurance.TRAIN", tmp_path / "train.py")
    started = []

    def interrupted(child, folder):
        started.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(endurance, "watched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        endurance.watch(tmp_path / "run", 100)
    assert started[0].returncode == -signal.SIGKILL


def test_a_training_is_watched(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(STAND_IN)
    monkeypatch.setattr("genjax_art.benchmark.endurance.TRAIN", tmp_path / "train.py")
    found = endurance.watch(tmp_path / "run", 100)
    assert found["ms_per_step"] == [100.0] * 8 and min(found["open_files"]) >= 3
    assert max(found["memory_mb"]) > found["memory_mb"][0] + 50
    assert not endurance.row("memory_mb", found["memory_mb"])["fine"]
    monkeypatch.setattr("genjax_art.benchmark.endurance.WORDS", ("fails",))
    with pytest.raises(RunError, match="the training ended with 1"):
        endurance.watch(tmp_path / "other", 100)
