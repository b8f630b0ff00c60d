"""The rows of an interrupted run are those of a whole one; what was lost or changed is said."""

import json
import math
import os
import signal

import pytest
from helpers import thorough
from small import noise, vae_experiment

from genjax_art.build import build_plan
from genjax_art.config import with_run
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.train import rows
from genjax_art.train.rows import Digest, decode_row, encode_row, keep_rows, read_metrics, read_pending, write_pending

pytestmark = pytest.mark.usefixtures("compiled_once")
GREY = ArraySpec((8, 8, 1))


def losses(folder):
    """What was logged, without times."""
    timed = {"seconds", "images_per_second"}
    return [{k: v for k, v in row.items() if k not in timed} for row in read_metrics(folder / "metrics.jsonl")]


class Interrupting:
    """A source that sends this process a signal when it is asked for the n-th time."""

    def __init__(self, source, after):
        self.source, self.left, self.spec = source, after, source.spec

    def __len__(self):
        return len(self.source)

    def take(self, indices):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.source.take(indices)


@pytest.mark.parametrize(("log_every", "save_every"), [(5, 3), *thorough((4, 100), (3, 7))])
def test_rows_after_interruptions_are_those_of_a_whole_run(quick_runs, tmp_path, monkeypatch, log_every, save_every):
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)
    options = {"steps": 23, "log_every": log_every, "save_every": save_every, "sample_every": 0}
    plan, source = build_plan(with_run(vae_experiment(), **options), GREY), noise(GREY, 20)
    assert run(plan, source, tmp_path / "whole", how="jit") == 0
    status, starts = run(plan, Interrupting(source, 4), tmp_path / "parts", how="jit"), []
    while status and layout.last_step(tmp_path / "parts") < 23:
        starts.append(layout.last_step(tmp_path / "parts"))
        status = run(plan, Interrupting(source, 7), tmp_path / "parts", how="jit", resume=True)
    assert len(starts) > 1
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert not [
        step for step in starts if step in {row["step"] for row in losses(tmp_path / "whole")} and step % log_every
    ]


@pytest.mark.thorough
def test_rows_after_a_kill_are_those_of_a_whole_run(quick_runs, tmp_path, monkeypatch):
    """Killed between two saves: the steps since the last save are done again, those before it are in the means."""
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)
    options = {"steps": 12, "log_every": 5, "save_every": 3, "sample_every": 0}
    plan, source = build_plan(with_run(vae_experiment(), **options), GREY), noise(GREY, 20)
    assert run(plan, source, tmp_path / "whole", how="jit") == 0

    class Killed(Exception):
        pass

    def killed(step):
        if step == 8:
            raise Killed

    monkeypatch.setattr("genjax_art.run.training._stopper", lambda *_: killed)
    with pytest.raises(Killed):
        run(plan, source, tmp_path / "parts", how="jit")
    monkeypatch.undo()
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)
    monkeypatch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
    assert layout.last_step(tmp_path / "parts") == 6
    assert run(plan, source, tmp_path / "parts", how="jit", resume=True) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


# the file


BAD = [
    b"\xff\xfe\x00",
    b"\x00" * 50,
    b"[" * 100_000,
    b"[2]",
    b'{"a": 1}',
    b'{"step": "3"}',
    b'{"step": 1.5}',
    b'{"step": true}',
    b'{"step": -1}',
    b'{"step": 3, "loss": {}}',
    b'{"step": 3, "loss": "high"}',
    b'{"step": 3, "loss": null}',
    b'{"step": 3, "seconds": "x"}',
    b'{"step": 3, "loss": 1' + b"0" * 5000 + b"}",
    b'{"step": 3, "a": "' + b"x" * 2**21 + b'"}',
]


@pytest.mark.parametrize("line", BAD, ids=lambda line: repr(line[:24]))
def test_what_is_no_row_is_set_aside_and_said(tmp_path, capsys, line):
    path = tmp_path / "metrics.jsonl"
    good = [encode_row({"step": step, "loss": 0.5, "seconds": 1.0}).encode() for step in (1, 2, 4)]
    content = b"\n".join([*good[:2], line, good[2], b""])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3"):
        read_metrics(path)
    assert [row["step"] for row in keep_rows(path, 4)] == [1, 2, 4]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "metrics.jsonl.damaged" in said
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == content
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 4]


def test_rows_that_stand_twice_are_kept_once(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(encode_row({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 2, 1, 3)))
    assert [row["step"] for row in keep_rows(path, 3)] == [1, 2, 3]
    assert "out of order" in capsys.readouterr().err


def test_a_half_written_last_line_is_no_damage(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    assert [row["step"] for row in keep_rows(path, 2)] == [1]
    assert capsys.readouterr().err == ""


def test_numbers_come_back_exactly():
    row = {"step": 3, "a": 0.1 + 0.2, "b": math.inf, "c": -math.inf, "d": 1e-300}
    assert decode_row(encode_row(row)) == row
    assert math.isnan(decode_row(encode_row({"step": 1, "a": math.nan}))["a"])


def test_pending_steps_are_kept_for_each_checkpoint(tmp_path, capsys):
    written = [{"step": 5, "loss": 0.25}]
    digest = Digest(written).hex()
    write_pending(tmp_path, 6, digest, [{"loss": 0.1}], kept=[])
    write_pending(tmp_path, 8, digest, [{"loss": 0.1}, {"loss": math.nan}, {"loss": 0.3}], kept=[6])
    assert read_pending(tmp_path, 6, written) == [{"loss": 0.1}]
    assert [row["loss"] for row in read_pending(tmp_path, 8, written)][::2] == [0.1, 0.3]
    write_pending(tmp_path, 9, digest, [], kept=[8])
    assert capsys.readouterr().err == ""
    assert read_pending(tmp_path, 6, written) == []
    assert "the steps after 5 up to 6 are lost" in capsys.readouterr().err
    assert read_pending(tmp_path, 5, written) == []  # a row of that step: nothing is lost
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("now", [[], [{"step": 5, "loss": 0.5}]])
def test_lost_and_changed_rows_are_said(tmp_path, capsys, now):
    write_pending(tmp_path, 6, Digest([{"step": 5, "loss": 0.25}]).hex(), [{"loss": 0.1}], kept=[])
    (tmp_path / "metrics.jsonl").write_text("".join(encode_row(row) + "\n" for row in now))
    assert read_pending(tmp_path, 6, now) == [{"loss": 0.1}]
    assert "lost or changed since they were written" in capsys.readouterr().err
    assert (tmp_path / "metrics.jsonl.damaged").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[" * 100_000, '{"6": 3}', '{"6": {"digest": 1, "since": 2}}', '{"6": {"digest": "", "since": [3]}}'],
)
def test_a_damaged_note_of_pending_steps_is_said(tmp_path, capsys, text):
    (tmp_path / rows.PENDING_FILE).write_text(text)
    assert read_pending(tmp_path, 6, []) == []
    assert "are lost" in capsys.readouterr().err
    write_pending(tmp_path, 7, "x", [], kept=[6])
    assert "7" in json.loads((tmp_path / rows.PENDING_FILE).read_text())
