"""A run on music through what the commands do: samples, walks, the user's own MIDI varied and continued."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
from small import shrink

from genjax_art import load_run
from genjax_art.build import build_plan, load_preset
from genjax_art.errors import RunError, UsageError
from genjax_art.media.medium import read
from genjax_art.music import notes
from genjax_art.music.midi import Song, midi_bytes, read_midi
from genjax_art.objectives import music_vae
from genjax_art.run import layout
from genjax_art.run.training import initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.verbs import grid, vary, walk
from genjax_art.verbs.output import Output

SPEC = notes.roll_spec(2, 2)
continued = importlib.import_module("genjax_art.verbs.continue_")


@pytest.fixture(scope="module")
def plan():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(music_vae, "CLIMBS", 2)
        yield build_plan(shrink(load_preset("music-vae-small")), SPEC)


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    """A run that has learned nothing."""
    folder = tmp_path_factory.mktemp("music") / "run"
    layout.write_config(folder, plan.config)
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        checkpoints.save(1, initial_state(plan).replace(step=np.asarray(1, np.int32)), 0.0)
    return folder


@pytest.fixture(scope="module")
def trained(folder, plan):
    return dataclasses.replace(load_run(folder), plan=plan)  # the one that continues quickly


def to(path, **writing):
    """The file that the user names."""
    return Output(path, named=True, options=writing)


@pytest.fixture
def midi(tmp_path):
    """Three bars of two voices, in 90 quarter notes per minute."""
    rows = [[start, 4, 70 - 7 * voice + start % 5, voice] for start in range(0, 48, 4) for voice in range(2)]
    path = tmp_path / "mine.mid"
    path.write_bytes(midi_bytes(Song(notes.notes_from_rows(rows), 48, 90.0)))
    return path


def test_a_grid_and_a_walk_of_music_are_midi_wav_and_png(trained, tmp_path):
    paths = grid.draw(trained, Output(tmp_path / "grid"), n=3, seed=5)
    assert [p.name for p in paths] == ["grid.mid", "grid.wav", "grid.png"] and all(p.is_file() for p in paths)
    song = read_midi(paths[0])
    assert song.steps == 3 * 32
    about = trained.about(5)
    assert {f"{key}: {value}" for key, value in about.items()} == set(song.texts)
    assert {"seed: 5", f"parameter_hash: {about['parameter_hash']}"} <= set(song.texts)
    paths = walk.draw(trained, Output(tmp_path / "walk"), n=2, seed=5)
    assert [p.name for p in paths] == ["walk.mid", "walk.wav", "walk.png"]
    walked, frames = read_midi(paths[0]), trained.medium.frames
    assert walked.steps == 2 * frames * 32
    # it begins with the first sample, whose decoder has drawn the same
    inside = notes.window(walked.notes, 0, 32).rows[:, :3]
    np.testing.assert_array_equal(inside, notes.window(song.notes, 0, 32).rows[:, :3])


def test_the_wav_is_played_by_the_soundfont_asked_for(trained, midi, tmp_path, monkeypatch):
    monkeypatch.setattr("genjax_art.media.roll.sound_of", lambda font: lambda song: f"{font} plays".encode())
    for name, draw, more in (
        ("grid", grid.draw, {}),
        ("walk", walk.draw, {}),
        ("vary", vary.draw, {"file": midi}),
        ("lead", walk.draw, {"file": (midi, midi)}),
        ("continue", continued.draw, {"file": midi}),
    ):
        for path in draw(trained, to(tmp_path / f"{name}.wav", soundfont=Path("mine")), n=2, **more):
            assert path.read_bytes() == b"mine plays", name


def test_own_music_goes_on_as_it_was_given(trained, midi, tmp_path):
    own = read_midi(midi)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        continued.draw(trained, to(tmp_path / f"{name}.mid"), file=midi, n=3, seed=seed)
    a, b, c = (read_midi(tmp_path / f"{name}.mid") for name in "abc")
    assert a.steps == 6 * 16 and a.tempo == pytest.approx(own.tempo, abs=0.01)
    np.testing.assert_array_equal(notes.window(a.notes, 0, 48).rows, own.notes.rows)
    assert "of: mine.mid" in a.texts and "own_bars: 3" in a.texts
    np.testing.assert_array_equal(a.notes.rows, b.notes.rows)
    assert not np.array_equal(a.notes.rows, c.notes.rows)


def test_variations_have_the_length_of_the_piece_and_depend_on_amount_and_seed(trained, midi, tmp_path):
    for name, amount, seed in (("a", 0.0, 0), ("b", 0.0, 1), ("c", 1.0, 0), ("d", 1.0, 1)):
        vary.draw(trained, to(tmp_path / f"{name}.mid"), file=midi, amount=amount, seed=seed)
    a, b, c, d = (read_midi(tmp_path / f"{name}.mid") for name in "abcd")
    assert a.steps == b.steps == c.steps == 48
    np.testing.assert_array_equal(a.notes.rows, b.notes.rows)  # nothing is drawn
    assert not np.array_equal(c.notes.rows, d.notes.rows)
    (path,) = vary.draw(trained, to(tmp_path / "v.npz"), file=midi, amount=1.0, n=2)
    with np.load(path) as found:
        assert found["x"].shape == (2, 48, *trained.spec.shape[1:])
    paths = vary.draw(trained, to(tmp_path / "v.mid"), file=midi, amount=1.0, n=2)
    assert [p.name for p in paths] == ["v-0.mid", "v-1.mid"]
    np.testing.assert_array_equal(read_midi(paths[0]).notes.rows[:, :3], c.notes.rows[:, :3])


def test_the_tempo_is_the_pieces_own_or_as_asked(trained, midi, tmp_path):
    def tempo(draw, **options):
        (path,) = draw(trained, to(tmp_path / "x.mid", **options), **given)
        return read_midi(path).tempo

    given = {"file": midi, "n": 1}
    for draw in (vary.draw, continued.draw):
        assert tempo(draw) == pytest.approx(read_midi(midi).tempo, abs=0.01)
        assert tempo(draw, tempo=200.0) == pytest.approx(200, abs=0.01)
    for wrong in (0.0, -5.0, 3.0, 1e6):
        with pytest.raises(UsageError, match="--tempo must be 4 to 1000 quarter notes a minute"):
            tempo(vary.draw, tempo=wrong)
    given = {"n": 1}
    for wrong in (0.0, 3.0):
        with pytest.raises(UsageError, match="--tempo must be 4 to 1000"):
            tempo(grid.draw, tempo=wrong)


def test_sound_that_would_be_too_long_is_left_out_where_nobody_named_it(trained, midi, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("genjax_art.media.synth.MAX_SECONDS", 1)
    paths = vary.draw(trained, Output(tmp_path / "x"), file=midi, amount=0.0)
    assert [path.suffix for path in paths] == [".mid", ".png"]
    assert "x.wav: 0 minutes of sound are more than 0; write fewer bars" in capsys.readouterr().err
    assert [path.suffix for path in grid.draw(trained, Output(tmp_path / "g"), n=2)] == [".mid", ".png"]
    with pytest.raises(notes.MusicError, match="minutes of sound"):
        vary.draw(trained, to(tmp_path / "y.wav"), file=midi, amount=0.0)


def test_a_walk_between_two_pieces_begins_with_the_one_and_ends_with_the_other(trained, midi, tmp_path):
    other = tmp_path / "yours.mid"
    rows = [[start, 8, 50 + start // 2, voice] for start in range(0, 64, 8) for voice in range(2)]
    other.write_bytes(midi_bytes(Song(notes.notes_from_rows(rows), 64)))
    (path,) = walk.draw(trained, to(tmp_path / "walk.mid"), file=(midi, other), n=3)
    song, steps = read_midi(path), 48  # of the shorter piece
    assert song.steps == 3 * steps and song.tempo == pytest.approx(90, abs=0.01)
    assert {"from: mine.mid", "to: yours.mid", "stages: 3"} <= set(song.texts)
    (back,) = walk.draw(trained, to(tmp_path / "back.mid"), file=(other, midi), n=3)
    stages = [[notes.window(read_midi(p).notes, k * steps, steps).rows for k in range(3)] for p in (path, back)]
    for there, again in zip(stages[0], reversed(stages[1]), strict=True):
        np.testing.assert_array_equal(there, again)
    (alone,) = vary.draw(trained, to(tmp_path / "alone.mid"), file=midi, amount=0.0)
    np.testing.assert_array_equal(stages[0][0], read_midi(alone).notes.rows)


def test_bars_of_a_file_are_whole_and_a_short_piece_follows_silence(trained, tmp_path, caplog):
    path = tmp_path / "short.mid"
    rows = notes.notes_from_rows([[2, 3, 60, 0], [2, 3, 20, 1]])
    path.write_bytes(midi_bytes(Song(rows, 5)))
    whole = read(path, SPEC).whole
    assert whole.shape == (16, 60, 4) and (whole > 0).sum() == 1 + 3
    assert "1 notes left out, 0 moved" in caplog.text
    continued.draw(trained, to(tmp_path / "more.mid"), file=path, n=1)
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
            read(tmp_path / f"{name}.mid", SPEC)
        assert name in str(raised.value) and "\n" not in str(raised.value)


def test_wrong_numbers_are_refused(trained, midi, tmp_path):
    out = to(tmp_path / "x.mid")
    for amount in (1.5, -0.1, float("nan")):
        with pytest.raises(UsageError, match="--amount"):
            vary.draw(trained, out, file=midi, amount=amount)
    with pytest.raises(UsageError, match="--n"):
        vary.draw(trained, out, file=midi, n=0)
    with pytest.raises(UsageError, match="--n"):
        continued.draw(trained, out, file=midi, n=0)
    with pytest.raises(UsageError, match="--n"):
        walk.draw(trained, out, file=(midi, midi), n=1)
    with pytest.raises(UsageError, match=r"no file or two, .*got 3"):
        walk.draw(trained, out, file=(midi, midi, midi))


def test_runs_that_know_no_music_or_have_no_encoder_say_so(trained, midi, tmp_path):
    out = to(tmp_path / "x.mid")
    method = dataclasses.replace(trained.method, encode=None, abilities={})
    gan = dataclasses.replace(trained, plan=dataclasses.replace(trained.plan, method=method))
    pictures = dataclasses.replace(trained, plan=build_plan(shrink(load_preset("mlp-vae")), ArraySpec((4, 4, 1))))
    points = ArraySpec((2,), kind="points")
    ring = dataclasses.replace(trained, plan=dataclasses.replace(trained.plan, spec=points))
    for other, says in ((pictures, "picture .*mine.mid cannot be read"), (gan, "no encoder"), (ring, "reads no files")):
        with pytest.raises(RunError, match=says):
            vary.draw(other, out, file=midi)
    for other, says in ((gan, "cannot proceed"), (ring, "reads no files")):
        with pytest.raises(RunError, match=says):
            continued.draw(other, out, file=midi)


# The command line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["walk", "--midi", "x.mid"], "walk takes no file or two, from the one to the other; got 1"),
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


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["continue"], "--midi"),
        (["grid", "--midi", "x.mid"], "--midi"),
        (["continue", "--midi", "x.mid", "--label", "a"], "--label"),
        (["vary", "--midi", "x.mid", "--truncation", 1], "--truncation"),
        (["walk", "--amount", 1], "--amount"),
        (["grid", "--fps", 3], "--fps"),
    ],
)
def test_options_that_a_verb_or_a_medium_does_not_take_are_refused(command, folder, words, option):
    ended = command("sample", folder, *words)
    assert ended.status == 2 and option in ended.err and not list(folder.glob("*.mid"))


def test_the_command_line_reaches_own_music(command, folder, midi, tmp_path):
    for what, more in (("continue", ["--n", 2]), ("vary", ["--amount", 0.2]), ("walk", [midi, "--n", 2])):
        ended = command("sample", folder, what, "--out", tmp_path / what, "--midi", midi, *more)
        assert ended.status == 0, ended.err
        assert ended.out.split() == [str(tmp_path / f"{what}.{ending}") for ending in ("mid", "wav", "png")]
