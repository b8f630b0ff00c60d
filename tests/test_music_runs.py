"""A run on music through what the commands do: samples, walks, the user's own MIDI varied and continued."""

import dataclasses

import numpy as np
import pytest
from small import shrink

from genjax_art import drawing, notes, revision, runs
from genjax_art.build import build_plan, load_preset
from genjax_art.errors import RunError, UsageError
from genjax_art.midi import Song, midi_bytes, read_midi
from genjax_art.objectives import music_vae
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.training import initial_state

SPEC = notes.roll_spec(2, 2)


@pytest.fixture(scope="module")
def plan():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(music_vae, "CLIMBS", 2)
        yield build_plan(shrink(load_preset("music-vae-small")), SPEC)


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    """A run that has learned nothing."""
    folder = tmp_path_factory.mktemp("music") / "run"
    runs.write_config(folder, plan.config)
    with Checkpoints(folder / runs.CHECKPOINTS) as checkpoints:
        checkpoints.save(1, initial_state(plan).replace(step=np.asarray(1, np.int32)), 0.0)
    return folder


@pytest.fixture(scope="module")
def state(plan, folder):
    return drawing.load_state(plan, folder)


@pytest.fixture
def midi(tmp_path):
    """Three bars of two voices, in 90 quarter notes per minute."""
    rows = [[start, 4, 70 - 7 * voice + start % 5, voice] for start in range(0, 48, 4) for voice in range(2)]
    path = tmp_path / "mine.mid"
    path.write_bytes(midi_bytes(Song(notes.notes_from_rows(rows), 48, 90.0)))
    return path


def test_a_grid_and_a_walk_of_music_are_midi_wav_and_png(plan, state, tmp_path):
    outs = drawing.default_outs(plan, tmp_path, "grid")
    paths = [path for out in outs for path in drawing.grid(plan, state, out, n=3, seed=5)]
    assert [p.name for p in paths] == ["grid.mid", "grid.wav", "grid.png"] and all(p.is_file() for p in paths)
    song = read_midi(paths[0])
    assert song.steps == 3 * 32
    about = drawing.metadata(plan, state, 5, "default")
    assert {f"{key}: {value}" for key, value in about.items()} == set(song.texts)
    assert {"seed: 5", f"parameter_hash: {about['parameter_hash']}"} <= set(song.texts)
    (out,) = drawing.default_outs(plan, tmp_path, "walk")
    paths = drawing.walk(plan, state, out, n=2, seed=5)
    assert [p.name for p in paths] == ["walk.mid", "walk.wav", "walk.png"]
    walked = read_midi(paths[0])
    assert walked.steps == 2 * drawing.PIECES * 32
    for sample, start in ((0, 0), (1, drawing.PIECES * 32)):  # it passes both samples
        inside = notes.window(walked.notes, start, 32).rows[:, :3]
        np.testing.assert_array_equal(inside, notes.window(song.notes, 32 * sample, 32).rows[:, :3])


def test_the_wav_is_played_by_the_sound_asked_for(plan, state, midi, tmp_path):
    asked = {"n": 2, "seed": 0, "sound": lambda song: f"{len(song.notes)} notes".encode()}
    for name, draw, more in (
        ("grid", drawing.grid, {}),
        ("walk", drawing.walk, {}),
        ("vary", revision.vary, {"midi": midi, "amount": 0.5}),
        ("lead", revision.lead, {"midi": (midi, midi)}),
        ("continue", revision.proceed, {"midi": midi}),
    ):
        for path in draw(plan, state, tmp_path / f"{name}.wav", **asked, **more):
            assert path.read_bytes().endswith(b" notes"), name


def test_own_music_goes_on_as_it_was_given(plan, state, midi, tmp_path):
    own = read_midi(midi)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        revision.proceed(plan, state, tmp_path / f"{name}.mid", midi=midi, n=3, seed=seed)
    a, b, c = (read_midi(tmp_path / f"{name}.mid") for name in "abc")
    assert a.steps == 6 * 16 and a.tempo == pytest.approx(own.tempo, abs=0.01)
    np.testing.assert_array_equal(notes.window(a.notes, 0, 48).rows, own.notes.rows)
    assert "of: mine.mid" in a.texts and "own_bars: 3" in a.texts
    np.testing.assert_array_equal(a.notes.rows, b.notes.rows)
    assert not np.array_equal(a.notes.rows, c.notes.rows)


def test_variations_have_the_length_of_the_piece_and_depend_on_amount_and_seed(plan, state, midi, tmp_path):
    for name, amount, seed in (("a", 0.0, 0), ("b", 0.0, 1), ("c", 1.0, 0), ("d", 1.0, 1)):
        revision.vary(plan, state, tmp_path / f"{name}.mid", midi=midi, amount=amount, n=1, seed=seed)
    a, b, c, d = (read_midi(tmp_path / f"{name}.mid") for name in "abcd")
    assert a.steps == b.steps == c.steps == 48
    np.testing.assert_array_equal(a.notes.rows, b.notes.rows)  # nothing is drawn
    assert not np.array_equal(c.notes.rows, d.notes.rows)
    paths = revision.vary(plan, state, tmp_path / "v.mid", midi=midi, amount=1.0, n=2, seed=0)
    assert [p.name for p in paths] == ["v-0.mid", "v-1.mid"]
    np.testing.assert_array_equal(read_midi(paths[0]).notes.rows[:, :3], c.notes.rows[:, :3])


def test_a_walk_between_two_pieces_begins_with_the_one_and_ends_with_the_other(plan, state, midi, tmp_path):
    other = tmp_path / "yours.mid"
    rows = [[start, 8, 50 + start // 2, voice] for start in range(0, 64, 8) for voice in range(2)]
    other.write_bytes(midi_bytes(Song(notes.notes_from_rows(rows), 64)))
    (path,) = revision.lead(plan, state, tmp_path / "walk.mid", midi=(midi, other), n=3, seed=0)
    song, steps = read_midi(path), 48  # of the shorter piece
    assert song.steps == 3 * steps and song.tempo == pytest.approx(90, abs=0.01)
    assert {"from: mine.mid", "to: yours.mid", "stages: 3"} <= set(song.texts)
    (back,) = revision.lead(plan, state, tmp_path / "back.mid", midi=(other, midi), n=3, seed=0)
    stages = [[notes.window(read_midi(p).notes, k * steps, steps).rows for k in range(3)] for p in (path, back)]
    for there, again in zip(stages[0], reversed(stages[1]), strict=True):
        np.testing.assert_array_equal(there, again)
    (alone,) = revision.vary(plan, state, tmp_path / "alone.mid", midi=midi, amount=0.0, n=1, seed=0)
    np.testing.assert_array_equal(stages[0][0], read_midi(alone).notes.rows)


def test_bars_of_a_file_are_whole_and_a_short_piece_follows_silence(plan, state, tmp_path, caplog):
    path = tmp_path / "short.mid"
    rows = notes.notes_from_rows([[2, 3, 60, 0], [2, 3, 20, 1]])
    path.write_bytes(midi_bytes(Song(rows, 5)))
    roll, _ = revision.read_bars(path, 2)
    assert roll.shape == (16, 60, 4) and roll.sum() == 1 + 3
    assert "1 notes left out, 0 moved" in caplog.text
    revision.proceed(plan, state, tmp_path / "more.mid", midi=path, n=1, seed=0)
    assert read_midi(tmp_path / "more.mid").steps == 32


def bad_files(folder):
    waltz, drums, low = (folder / f"{name}.mid" for name in ("waltz", "drums", "low"))
    good = midi_bytes(Song(notes.notes_from_rows([[0, 4, 60, 0]]), 16))
    waltz.write_bytes(good.replace(b"\xff\x58\x04\x04", b"\xff\x58\x04\x03"))
    drums.write_bytes(good.replace(b"\x90", b"\x99").replace(b"\x80", b"\x89"))
    low.write_bytes(midi_bytes(Song(notes.notes_from_rows([[0, 4, 12, 0]]), 16)))
    (folder / "text.mid").write_text("no music")
    (folder / "huge.mid").write_bytes(b"MThd" + b"\0" * 10_000_000)
    (folder / "empty.mid").write_bytes(midi_bytes(Song(notes.notes_from_rows([]), 16)))
    return {"waltz": "4/4", "drums": "drums", "low": "30 to 89", "text": "MIDI", "huge": "1 MB", "empty": "no notes"}


def test_bad_midi_is_refused_in_one_line(tmp_path):
    for name, word in {**bad_files(tmp_path), "missing": "cannot be read"}.items():
        with pytest.raises((UsageError, RunError), match=word) as raised:
            revision.read_bars(tmp_path / f"{name}.mid", 2)
        assert name in str(raised.value) and "\n" not in str(raised.value)


def test_wrong_numbers_are_refused(plan, state, midi, tmp_path):
    asked = {"midi": midi, "seed": 0}
    with pytest.raises(UsageError, match="--amount"):
        revision.vary(plan, state, tmp_path / "x.mid", amount=1.5, n=1, **asked)
    with pytest.raises(UsageError, match="--n"):
        revision.vary(plan, state, tmp_path / "x.mid", amount=0.5, n=0, **asked)
    with pytest.raises(UsageError, match="--n"):
        revision.proceed(plan, state, tmp_path / "x.mid", n=0, **asked)
    with pytest.raises(UsageError, match="--n"):
        revision.lead(plan, state, tmp_path / "x.mid", n=1, midi=(midi, midi), seed=0)


def test_runs_that_know_no_music_or_have_no_encoder_say_so(plan, state, midi, tmp_path):
    asked = {"midi": midi, "n": 1, "seed": 0}
    pictures = build_plan(shrink(load_preset("mlp-vae")), ArraySpec((4, 4, 1)))
    gan = dataclasses.replace(plan, method=dataclasses.replace(plan.method, encode=None, proceed=None))
    for other, vary, proceed in ((pictures, "kind image", "kind image"), (gan, "no encoder", "cannot continue")):
        with pytest.raises(RunError, match=vary):
            revision.vary(other, state, tmp_path / "x.mid", amount=0.5, **asked)
        with pytest.raises(RunError, match=proceed):
            revision.proceed(other, state, tmp_path / "x.mid", **asked)


# The command line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["continue"], "continue takes 1 files in --midi, got 0"),
        (["grid", "--midi", "x.mid"], "grid takes 0 files in --midi, got 1"),
        (["walk", "--midi", "x.mid"], "walk takes 0 or 2 files in --midi, got 1"),
        (["vary", "--midi", "text.mid"], "text.mid is not a MIDI file"),
        (["grid", "--soundfont", "none.sf2"], "fluidsynth"),
    ],
)
def test_wrong_words_are_refused_in_one_line(command, folder, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "text.mid").write_text("no music")
    ended = command("sample", folder, *words)
    assert ended.status == 2 and says in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert not list(folder.glob("grid.*"))


def test_the_command_line_reaches_own_music(command, folder, midi, tmp_path):
    for what, more in (("continue", ["--n", 2]), ("vary", ["--amount", 0.2]), ("walk", [midi, "--n", 2])):
        ended = command("sample", folder, what, "--out", tmp_path / what, "--midi", midi, *more)
        assert ended.status == 0, ended.err
        assert ended.out.split() == [str(tmp_path / f"{what}.{ending}") for ending in ("mid", "wav", "png")]
