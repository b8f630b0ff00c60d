"""Decoded pictures on disk: interrupted, damaged, shared, without room, and what is read of them."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import write_picture
from tensorflow_datasets.core.hashing import Hasher

from genjax_art.data import decoders, growing, preparing
from genjax_art.data.content import content_of
from genjax_art.data.contract import ArraySource, DataError
from genjax_art.data.decoders import Decoders, End, Pictures
from genjax_art.data.layout import in_mixed_order
from genjax_art.data.open import open_source
from genjax_art.data.pictures_on_disk import PictureRows
from genjax_art.errors import RunError

COUNT, SIZE = 120, (8, 8)
ROW = 8 * 8 * 3
CHILD = f"""
import os, signal, sys
from genjax_art.data import growing
from genjax_art.data.open import open_source
growing.COMMIT_BYTES, left = 10 * {ROW}, int(sys.argv[3])
append = growing.GrowingArray.append
def killed(self, row):
    global left
    left -= 1
    if not left:
        os.write(self._handle, b"half a row")
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, row)
growing.GrowingArray.append = killed
print(len(open_source("image_folder", folder=sys.argv[1], data_dir=sys.argv[2], size={SIZE})))
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Two labels, two splits, one picture that is none."""
    for i in range(COUNT):
        split = "test" if i % 6 == 0 else "train"
        write_picture(tmp_path / "own" / split / f"label{i % 2}" / f"{i}.png", (9, 9, 3), seed=i)
    (tmp_path / "own" / "train" / "label0" / "none.png").write_text("none")
    return tmp_path / "own"


def opened(many: Path, place: Path, split: str = "train") -> PictureRows:
    source = open_source("image_folder", folder=many, data_dir=place, size=SIZE, split=split)
    assert isinstance(source, PictureRows)
    return source


def files(place: Path) -> dict[str, bytes]:
    (folder,) = (place / "image_folder").iterdir()
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".npy"}


def child(many: Path, place: Path, kill_after: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD, str(many), str(place), str(kill_after)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_was_killed_is_gone_on_with(many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(many, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    process = child(many, tmp_path / "killed", 57)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    capsys.readouterr()
    source = opened(many, tmp_path / "killed")
    assert "(50 of 121 pictures are there)" in capsys.readouterr().err.replace("51 of", "50 of")  # none.png among them
    assert files(tmp_path / "killed") == whole and len(source) == COUNT * 5 // 6
    assert np.load(next((tmp_path / "killed").rglob("x.npy"))).shape == (COUNT, *SIZE, 3)
    assert not list((tmp_path / "killed").rglob("*.journal"))


def cut_journal(folder: Path) -> None:
    journal = folder / "x.journal"
    journal.write_bytes(journal.read_bytes()[:-9])


def cut_rows(folder: Path) -> None:
    os.truncate(folder / "x.npy", growing.HEADER + 15 * ROW)


def change_a_row(folder: Path) -> None:
    with (folder / "x.npy").open("r+b") as file:
        file.seek(growing.HEADER + 25 * ROW)
        file.write(b"\x00\xff\x00\xff")


def nonsense(folder: Path) -> None:
    journal = folder / "x.journal"
    line = b'{"split": "train", "done": 99, "rows": 99, "crc": 1, "skipped": []}\n[]\n{"split": 3}\n\xff\n'
    journal.write_bytes(line + journal.read_bytes())


def drop_rows(folder: Path) -> None:
    (folder / "x.npy").unlink()


@pytest.mark.parametrize("damage", [cut_journal, cut_rows, change_a_row, nonsense, drop_rows])
def test_nothing_half_written_is_trusted(
    damage: Callable[[Path], None], many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(many, tmp_path / "whole")
    monkeypatch.setattr(growing, "COMMIT_BYTES", 10 * ROW)
    seen = 0

    def interrupt(self: growing.GrowingArray) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise KeyboardInterrupt
        commit(self)

    commit = growing.GrowingArray.commit
    monkeypatch.setattr(growing.GrowingArray, "commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        opened(many, tmp_path / "other")
    monkeypatch.setattr(growing.GrowingArray, "commit", commit)
    (folder,) = (tmp_path / "other" / "image_folder").iterdir()
    damage(folder)
    opened(many, tmp_path / "other")
    assert files(tmp_path / "other") == files(tmp_path / "whole")


def test_two_at_once_do_no_harm(many: Path, tmp_path: Path) -> None:
    opened(many, tmp_path / "whole")
    both = [child(many, tmp_path / "shared", 0) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, f"{COUNT * 5 // 6}\n"), err
    assert files(tmp_path / "shared") == files(tmp_path / "whole")


def test_what_was_changed_is_made_again_and_a_copy_is_not(
    many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(many, tmp_path / "one")
    whole = files(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy", copy_function=shutil.copy)  # new times
    capsys.readouterr()
    opened(many, tmp_path / "copy")
    assert "preparing" not in capsys.readouterr().err
    for name in ("x.npy", "label.npy", "set.json"):
        caplog.clear()
        path = next((tmp_path / "copy").rglob(name))
        content = bytearray(path.read_bytes())
        content[-8] ^= 1
        path.write_bytes(content)
        opened(many, tmp_path / "copy")
        assert "is broken" in caplog.text and files(tmp_path / "copy") == whole
        path.unlink()
        opened(many, tmp_path / "copy")
        assert files(tmp_path / "copy") == whole


def test_no_room_is_one_line_and_what_is_there_is_kept(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(preparing.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(DataError, match=r"0.0 GB more.*another folder by data_dir") as caught:
            opened(many, tmp_path / "full")
    assert "\n" not in str(caught.value)
    write, room = growing._write_at, [4]

    def full(*arguments: object) -> None:
        room[0] -= 1
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(growing, "COMMIT_BYTES", 10 * ROW)
    monkeypatch.setattr(growing, "_write_at", full)
    with pytest.raises(DataError, match=r"No space left on device.*make room or name another folder"):
        opened(many, tmp_path / "full")
    room[0] = -1
    capsys.readouterr()
    opened(many, tmp_path / "full")
    assert "of 121 pictures are there" in capsys.readouterr().err


def test_processes_give_the_same_in_the_same_order(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*sorted(many.rglob("*.png")), many / "nowhere.png"]
    with Decoders(Pictures(SIZE, 3), 0) as here:
        expected = list(here.read(paths))
    monkeypatch.setattr(decoders, "CHUNK_FILES", 3)
    with Decoders(Pictures(SIZE, 3), 2) as two:
        found = []
        for i, result in enumerate(two.read(paths)):
            found.append(result)
            if i == 20:  # a decoder's defect: what it was at is read by another one
                process = two._all[0]._process
                assert process is not None
                process.send_signal(signal.SIGSEGV)
    assert sum(isinstance(result, End) for result in expected) == len(paths)
    assert sum(isinstance(result, End) and result.unread is not None for result in expected) == 2
    for one, other in zip(expected, found, strict=True):
        if isinstance(one, End):
            assert one == other
        else:
            np.testing.assert_array_equal(one, other)
    with Decoders(Pictures(SIZE, 3), 1) as killed:
        rest = killed.read(paths)
        next(rest)
        process = killed._all[0]._process
        assert process is not None
        process.kill()
        with pytest.raises(RunError, match="was killed, of memory perhaps"):
            list(rest)


def test_an_abandoned_reading_ends_its_processes(many: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Decoders(Pictures(SIZE, 3), 2) as two:
        for _ in two.read(list(many.rglob("*.png")) * 20):
            ids = [decoder._process.pid for decoder in two._all if decoder._process]
            raise KeyboardInterrupt
    for i in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(i, 0)


@pytest.mark.parametrize("split", ["train", "test", "all", "train[:10%]", "test+train[3:5]", "train[-7:]+test[:50%]"])
def test_the_content_is_that_of_the_same_arrays(split: str, many: Path, tmp_path: Path) -> None:
    source = opened(many, tmp_path / "sets", split)
    whole = opened(many, tmp_path / "sets", "all").take(np.arange(COUNT))
    train, test = np.arange(100), np.arange(100, 120)
    expected = {
        "train": train,
        "test": test,
        "all": np.arange(COUNT),
        "train[:10%]": train[:10],
        "test+train[3:5]": np.concatenate([test, train[3:5]]),
        "train[-7:]+test[:50%]": np.concatenate([train[-7:], test[:10]]),
    }[split]
    taken = source.take(np.arange(len(source)))
    for name, rows in taken.items():
        np.testing.assert_array_equal(rows, whole[name][expected])
    assert content_of(source) == content_of(ArraySource(source.spec, taken))
    assert set(taken["label"].tolist()) <= {0, 1}
    with pytest.raises(IndexError):
        source.take(np.array([len(source)]))


@pytest.mark.parametrize("split", ["nope", "train[50:30]", "train[", "all[:3]", "train[:0]"])
def test_no_such_split(split: str, many: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split .*: choose from train, test, all"):
        opened(many, tmp_path / "sets", split)


def test_the_order_is_that_of_tfds() -> None:
    """Runs of sets that TFDS had prepared go on: their content is the same."""
    rows = [(Path(f"{i}.png"), None) for i in range(50)]
    hasher = Hasher("validation")
    assert in_mixed_order(rows, "validation") == [rows[i] for i in sorted(range(50), key=hasher.hash_key)]
