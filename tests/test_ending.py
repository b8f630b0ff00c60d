"""How commands end: what is read is kept, what cannot be written or held is one line, no reader is no error."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import write_picture

from genjax_art import cli
from genjax_art.ending import NO_READER
from genjax_art.errors import RunError, UsageError
from genjax_art.evaluate import judged
from genjax_art.files import check_writable, keeping, replacing
from genjax_art.metrics import clip_distance
from genjax_art.train.logs import Display, run_log

ROOT = Path(__file__).resolve().parents[1]


def ended(monkeypatch, capsys, action):
    """The status of a command that does it, and what it says on standard error."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(SystemExit) as end:
        cli.main(lambda arguments: action())
    return end.value.code, capsys.readouterr().err


def test_a_file_that_is_read_is_not_replaced(tmp_path):
    own, other = write_picture(tmp_path / "a.png"), write_picture(tmp_path / "b.png")
    (tmp_path / "link.png").symlink_to(own)
    before = own.read_bytes()
    with keeping([own, tmp_path / "not_there"]):
        for path in (own, tmp_path / "link.png"):
            with pytest.raises(UsageError, match="is read here and would be replaced: name another"), replacing(path):
                raise AssertionError("within")
        with replacing(other) as part:
            part.write_bytes(b"new")
    assert own.read_bytes() == before and other.read_bytes() == b"new"
    with replacing(own) as part:
        part.write_bytes(b"newer")
    assert own.read_bytes() == b"newer"


def test_what_a_command_reads_are_the_files_of_its_verb(finished, tmp_path):
    words = [str(finished), "vary", "--file", str(tmp_path / "mine.png"), "--out", str(tmp_path / "mine")]
    assert cli.parse_sample(words).reads == [tmp_path / "mine.png"]
    assert cli.parse_sample([str(finished), "--out", str(tmp_path / "x.png")]).reads == []


def test_a_file_that_cannot_be_written_is_named_not_its_temporary_one(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", os.fsencode(tmp_path / ".0123456789ab.part"))

    def write():
        with replacing(tmp_path / "x.png"):
            full()

    status, line = ended(monkeypatch, capsys, write)
    assert status == 1
    assert (
        line
        == f"error: {tmp_path}/x.png: No space left on device: make room or allow it there, or name another place\n"
    )
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("genjax_art.files._new_file", full)
    with pytest.raises(OSError, match=r"x\.png"), replacing(tmp_path / "x.png"):
        raise AssertionError("within")
    with pytest.raises(OSError, match="evaluation"):
        check_writable(tmp_path / "run" / "evaluation")


def test_places_are_tried_and_left_as_they_were(tmp_path):
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def too_much():
    np.empty(2**60, np.uint8)


def too_much_for_a_device():
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 52 bytes.\nmore")  # as jaxlib's own error says


@pytest.mark.parametrize("action", [too_much, too_much_for_a_device])
def test_too_little_memory_is_one_line(monkeypatch, capsys, action):
    status, line = ended(monkeypatch, capsys, action)
    assert status == 1 and line.count("\n") == 1
    assert line.startswith("error: the memory is not enough (") and "smaller --batch-size" in line


def test_another_runtime_error_is_a_defect(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(lambda arguments: exec("raise RuntimeError('a defect')", {"__name__": "elsewhere"}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", ""], "'' after --out is empty: name something"),
        (["--data.folder="], "--data.folder= is empty: name something"),
    ],
)
def test_empty_words_are_no_places(words, said):
    with pytest.raises(UsageError, match=said):
        cli.expand_homes(words)


class Gone(Display):
    def show(self, step, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_run_goes_on_without_who_watched_it(tmp_path, monkeypatch):
    forgotten = []
    monkeypatch.setattr("genjax_art.train.logs.make_display", lambda *arguments: Gone())
    monkeypatch.setattr("genjax_art.train.logs.forget", forgotten.append)
    with run_log(tmp_path, total_steps=3, batch_size=1) as log:
        for step in (1, 2, 3):
            log.progress(step, {"vae/loss": 1.0})
            log.scalars(step, {"vae/loss": 1.0})
    assert forgotten == [(2,)] and len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_end_nothing(tmp_path, closed):
    """As daemons start; and the next file that is opened does not become standard error."""
    code = f"""
import sys
sys.argv = ["x", {str(tmp_path / "out")!r}]
from genjax_art import cli
def command(arguments):
    print("said")
    with open(arguments[0], "w") as file:
        assert file.fileno() > 2
        print("told", file=sys.stderr, flush=True)
        file.write("written")
cli.main(command)
"""
    (tmp_path / "x.py").write_text(code)
    shell = f'exec "$0" "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, str(tmp_path / "x.py")], cwd=ROOT, check=False, env=here()
    )
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "written"


def here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    code = "import sys; from genjax_art import cli; sys.argv = ['x']; cli.main(lambda a: print('line\\n' * 100_000))"
    words, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, cwd=ROOT, env=here()) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == NO_READER


# Measures.


def test_a_file_of_weights_that_is_none_ends_before_anything_is_measured(copied, monkeypatch, tmp_path):
    from test_evaluate import data

    from genjax_art.evaluate import evaluate

    monkeypatch.setattr("genjax_art.build.build_source", data)
    with pytest.raises(RunError, match=r"nowhere\.pth cannot be read"):
        evaluate([str(copied), "--inception", str(tmp_path / "nowhere.pth"), "--n", "8"])
    assert not (copied / "evaluation").exists()
    with pytest.raises(RunError, match="clip_distance is no measure of arrays of kind image; usual: frechet"):
        judged.judge(copied, judged.Judging(n=8), {"clip_distance": clip_distance.measure})
