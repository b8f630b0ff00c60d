"""The music sets: chorales of music21, the user's MIDI files, the JSB benchmark."""

import importlib.util
import json

import numpy as np
import pytest
from test_music_midi import file_bytes, meter, off, on

from genjax_art.data.contract import DataError
from genjax_art.data.open import open_source
from genjax_art.data.rolls import variant_of, whole_windows
from genjax_art.data.sets import chorales, jsb
from genjax_art.data.sets.midi_folder import held_out, read_folder
from genjax_art.errors import UsageError
from genjax_art.media.roll import read_music
from genjax_art.music.midi import Song, midi_bytes
from genjax_art.music.notes import notes_from_roll, notes_from_rows, roll_spec, window
from genjax_art.music.voices import assign_voices


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tfds"


def rows_of(source, index):
    """The notes of an example."""
    return notes_from_roll(source.take(np.asarray([index]))["x"][0] // 255).rows


def piece(*, low=50, bars=4, step=4, voices=4):
    """Scales in so many voices, one note every `step` sixteenths."""
    return notes_from_rows(
        [(t, step, low + 12 - 4 * v + (t // step) % 7, v) for v in range(voices) for t in range(0, 16 * bars, step)]
    )


# Chorales


def test_downbeats_put_cut_bars_together():
    measures = [(0.0, 1.0), (1.0, 4.0), (5.0, 3.0), (8.0, 1.0), (9.0, 4.0), (13.0, 3.0), (16.0, 4.0), (20.0, 3.0)]
    assert chorales.downbeats_of(measures) == (4, 20, 36, 52, 64, 80)
    assert chorales.downbeats_of([(0.0, 4.0), (4.0, 2.0), (6.0, 2.0), (8.0, 4.0)]) == (0, 16, 32)


def test_windows_have_no_gap_and_end_with_the_piece():
    downbeats = (4, 20, 36, 52, 64, 80)  # the bar at 52 is short, the last one incomplete
    assert whole_windows(downbeats, 92, 2) == [(0, 4), (1, 20)]
    assert whole_windows(downbeats, 96, 2) == [(0, 4), (1, 20), (4, 64)]
    assert whole_windows(downbeats, 96, 4) == []


def chorale(name, notes):
    return chorales.Chorale(name, notes, (0, 16, 32, 48), 64, 0)


def test_equal_pieces_are_taken_once_and_tunes_are_kept_together():
    first, other = piece(), piece(step=8)
    moved = notes_from_rows(first.rows + np.asarray([0, 0, 3, 0]))
    bass = notes_from_rows(np.where(first.rows[:, 3:] == 3, first.rows - np.asarray([0, 0, 1, 0]), first.rows))
    pieces = [chorale("a", first), chorale("b", moved), chorale("c", other), chorale("d", bass)]
    assert [p.name for p in chorales.distinct(pieces)] == ["a", "c", "d"]
    assert chorales.tune(pieces[0]) == chorales.tune(pieces[1]) == chorales.tune(pieces[3]) == (0, 1, 2, 3, 4, 5, 6, 0)
    assert chorales.tune(pieces[2]) == (0, 0, 1, 1, 2, 2, 3, 3)
    tunes = [notes_from_rows([(4 * i, 4, 60 + (i == j), 0) for i in range(8)]) for j in range(1, 6)]
    many = [chorale(f"{i}", tunes[i]) for i in (0, 4, 1, 2, 3)] + [chorale("last", tunes[3])]
    assert chorales.held_out_pieces(many) == {4, 5}  # the fifth tune, with its second setting


def test_chorales_from_the_installed_package(data_dir, monkeypatch, caplog):
    pytest.importorskip("music21")
    chosen = ("bwv269", "bwv347", "bwv253", "bwv254", "bwv255", "bwv10.7", "bwv248.64-s", "bwv1.6")
    paths = [path for path in chorales.chorale_paths() if path.stem in chosen]
    assert len(chorales.chorale_paths()) > 300
    read = {path.stem: chorales.read_chorale(path) for path in paths}
    assert read["bwv248.64-s"].off_grid == 4  # two pairs of 32nd notes
    assert read["bwv1.6"] is None  # it has more than four parts
    monkeypatch.setattr(chorales, "chorale_paths", lambda: paths)
    monkeypatch.setattr(chorales, "read_chorale", lambda path: read[path.stem])
    monkeypatch.setattr(chorales, "HELD_OUT", 3)
    train = open_source("chorales", data_dir=data_dir)
    test = open_source("chorales", split="test", data_dir=data_dir)
    everything, held_out = train.take(np.arange(len(train))), test.take(np.arange(len(test)))
    assert train.spec.kind == "roll"
    assert train.spec.shape == (32, 60, 8)
    assert not set(everything["piece"]) & set(held_out["piece"])
    assert set(held_out["transposition"]) == {0}
    assert sorted(set(everything["transposition"])) == list(range(-5, 7))
    pieces = [p for p in read.values() if p]
    notes, moved = sum(len(p.notes) for p in pieces), sum(p.off_grid for p in pieces)
    assert (
        f"read {len(pieces)} chorales: {notes} notes, {moved} of them moved to the grid" in caplog.text and moved >= 4
    )
    for source, i in [(train, 0), (train, len(train) // 2), (train, len(train) - 1), (test, 0)]:
        example = source.take(np.asarray([i]))
        original = pieces[int(example["piece"][0])]
        cut = window(original.notes, original.downbeats[int(example["bar"][0])], 32).rows
        np.testing.assert_array_equal(rows_of(source, i), cut + np.asarray([0, 0, int(example["transposition"][0]), 0]))


def test_a_chorale_is_that_of_another_edition(shared_data):
    pytest.importorskip("music21")
    (path,) = [path for path in chorales.chorale_paths() if path.stem == "bwv254"]
    read = chorales.read_chorale(path)
    ours = np.full((176, 4), -1)
    for start, length, pitch, voice in read.notes.rows:
        ours[start : start + length, voice] = pitch
    splits = json.loads((shared_data / "jsb_chorales" / jsb.SIXTEENTHS).read_text())
    pieces = [np.asarray(p) for split in splits.values() for p in split]
    differences = [ours[: len(p)] - p[: len(ours)] for p in pieces]
    alike = [np.mean(d == np.median(d)) for d in differences]  # in whatever key
    assert max(alike) > 0.99  # the editions differ in a passing note


def test_a_missing_music21_is_named(data_dir, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "music21" else find_spec(name))
    with pytest.raises(DataError, match=r'pip install -e "\.\[music\]"'):
        open_source("chorales", data_dir=data_dir)


@pytest.mark.parametrize("name", ["chorales", "midi_folder", "jsb"])
def test_music_has_at_least_one_bar(name, tmp_path):
    folder = {} if name == "chorales" else {"folder": tmp_path}
    with pytest.raises(UsageError, match=r"--data\.bars must be at least 1, got 0"):
        open_source(name, **folder, bars=0)


def test_two_bars_lie_where_they_always_did():
    """Sets that users prepared before other lengths were an option are found."""
    assert (variant_of(2), variant_of(2, "abc")) == ("", "abc")
    assert (variant_of(4), variant_of(1, "abc")) == ("4bars", "abc-1bars")


# The user's MIDI files


def test_tracks_of_single_notes_keep_their_voices_from_high_to_low():
    notes = notes_from_rows([(0, 4, 40, 0), (0, 4, 70, 1), (4, 4, 72, 1), (2, 6, 55, 5)])
    voices, left_out = assign_voices(notes, 4)
    np.testing.assert_array_equal(voices.rows, [(0, 4, 70, 0), (4, 4, 72, 0), (2, 6, 55, 1), (0, 4, 40, 2)])
    assert left_out == 0


def test_chords_are_the_accompaniment_of_the_melody():
    melody = [(0, 8, 60, 0), (8, 8, 90, 0), (8, 4, 74, 0)]
    chords = [(0, 4, 55, 1), (0, 8, 52, 1), (0, 4, 48, 1), (0, 4, 45, 1), (4, 4, 57, 1)]
    voices, left_out = assign_voices(notes_from_rows(melody + chords), 4)
    expected = [(0, 8, 60, 0), (8, 4, 74, 0), (0, 4, 55, 1), (4, 4, 57, 1), (0, 8, 52, 2), (0, 4, 48, 3)]
    np.testing.assert_array_equal(voices.rows, expected)
    assert left_out == 2  # 90 is out of range, for 45 no voice is free
    alone, left_out = assign_voices(notes_from_rows(chords), 4)
    np.testing.assert_array_equal(alone.rows[:3], [(0, 4, 55, 0), (4, 4, 57, 0), (0, 8, 52, 1)])
    assert (len(alone), left_out) == (5, 0)
    assert assign_voices(notes_from_rows([(0, 1, 20, 0)]), 4)[1] == 1


def write(folder, name, song):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(midi_bytes(song))


def test_a_folder_of_midi_files(data_dir, tmp_path, caplog):
    folder = tmp_path / "own"
    for i in range(11):
        write(folder, f"{i:02d}.{('mid', 'kar', 'rmi')[i % 3]}", Song(piece(low=40 + i), 64))
    (folder / "words.mid").write_text("no music")
    (folder / "words.txt").write_text("no music")
    (folder / "README").write_text("no music")
    write(folder / "deep", "short.MID", Song(piece(bars=1), 16))
    train = open_source("midi_folder", folder=folder, data_dir=data_dir)
    test = open_source("midi_folder", split="test", folder=folder, data_dir=data_dir)
    held = set(test.take(np.arange(len(test)))["piece"].tolist())
    assert held and (len(train), len(test)) == (3 * (11 - len(held)), 3 * len(held))
    report = "\n".join(caplog.messages)
    assert "words.mid is not a MIDI file" in report
    assert "short.MID has no 2 bars" in report
    assert "read 11 of 13 MIDI files" in report
    assert "no MIDI files by their endings: 1 .txt, 1 without an ending" in report
    example = test.take(np.asarray([0]))
    cut = window(piece(low=40 + int(example["piece"][0])), 16 * int(example["bar"][0]), 32)
    np.testing.assert_array_equal(rows_of(test, 0), cut.rows)
    longer = [open_source("midi_folder", split=s, folder=folder, data_dir=data_dir, bars=4) for s in ("train", "test")]
    assert [len(source) for source in longer] == [11 - len(held), len(held)]


def music_of(folder, data_dir, split):
    source = open_source("midi_folder", folder=folder, split=split, data_dir=data_dir)
    return {x.tobytes() for x in source.take(np.arange(len(source)))["x"]}


def test_what_is_held_out_stays_held_out(data_dir, tmp_path):
    """None that was trained on is held out later, and copies under other names and with other texts change no side."""
    folder = tmp_path / "own"
    for i in range(12):
        write(folder, f"{i:02d}.mid", Song(piece(low=35 + 2 * i), 64))
    train, test = (music_of(folder, data_dir, split) for split in ("train", "test"))
    assert train and test and not train & test
    for i in range(12):
        write(folder, f"a copy of {i}.mid", Song(piece(low=35 + 2 * i), 64, texts=("copied",)))
    write(folder, "0 another.mid", Song(piece(low=40, step=8), 64))
    after_train, after_test = (music_of(folder, data_dir, split) for split in ("train", "test"))
    assert not after_test & train and not after_test & after_train and after_train | after_test > train | test


def test_which_pieces_are_held_out():
    low, high = 2**64 // 20, 2**63
    assert held_out([high, low, high + 1]) == [1]
    assert held_out([high] * 9) == [] == held_out([low]) == held_out([low, low])  # something is left to train on
    assert held_out([high + 9 - i for i in range(10)]) == [9]
    rng = np.random.default_rng(0)
    many = [int(d) for d in rng.integers(0, 2**64, 5000, dtype=np.uint64)]
    assert len(held_out(many)) == pytest.approx(500, rel=0.1)
    for n in range(10, 60):  # what is trained on is never held out later
        assert {many[i] for i in held_out(many[: n + 1])} <= {many[i] for i in held_out(many[:n])} | {many[n]}


def test_the_last_bar_after_a_pickup_is_in_a_window(tmp_path):
    beats = [message for i in range(16) for message in (on(60 + i % 12), off(60 + i % 12, 480))]
    (tmp_path / "a.mid").write_bytes(file_bytes([meter(1, 4), meter(4, 4, 480)], beats))
    (read,) = read_folder(tmp_path, 2)
    assert [step for _, step in read.windows(2)] == [4, 20, 36]
    assert read.outside == 1  # the pickup
    (music,) = [read_music(tmp_path / "a.mid", roll_spec(2, 4)).whole]
    rows = notes_from_roll((music > 0).astype(np.uint8)).rows
    assert len(music) == 5 * 16 and len(rows) == 16
    np.testing.assert_array_equal(rows[0], (12, 4, 60, 0))  # at the end of a bar of its own


def test_windows_lie_in_sections_of_common_time_and_are_not_silent(tmp_path):
    late = notes_from_rows([(s + 64, n, p, v) for s, n, p, v in piece(bars=2).rows])
    write(tmp_path, "late.mid", Song(late, 128))
    (read,) = read_folder(tmp_path, 2)
    assert read.windows(2) == [(3, 48), (4, 64), (5, 80)]


def test_folders_without_usable_music_are_refused_in_one_line(data_dir, tmp_path):
    with pytest.raises(DataError, match=r"no MIDI files \(\.mid, \.midi, \.kar, \.rmi, \.smf\)$"):
        open_source("midi_folder", folder=tmp_path, data_dir=data_dir)
    (tmp_path / "a.mscz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no MIDI files .*; it holds 1 \.mscz$"):
        open_source("midi_folder", folder=tmp_path, data_dir=data_dir)
    (tmp_path / "a.mid").write_bytes(b"MThd")
    write(tmp_path, "b.mid", Song(piece(bars=1), 16))
    with pytest.raises(
        DataError, match=r"none of the 2 MIDI files .*a\.mid is a damaged.*b\.mid has no 2 bars"
    ) as raised:
        open_source("midi_folder", folder=tmp_path, data_dir=data_dir)
    assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="pass folder"):
        open_source("midi_folder", data_dir=data_dir)


# The JSB benchmark


def test_equal_pitches_in_a_row_are_one_note():
    pitches = np.asarray([[60, -1], [60, 50], [62, 50], [-1, 50], [62, -1], [62, 48]])
    expected = [(0, 2, 60, 0), (2, 1, 62, 0), (4, 2, 62, 0), (1, 3, 50, 1), (5, 1, 48, 1)]
    np.testing.assert_array_equal(jsb.notes_from_pitches(pitches).rows, expected)


def test_jsb_windows_and_splits(data_dir, tmp_path):
    pieces = [[[72, 67, 64, 48]] * 48 + [[74, -1, 64, 48]] * 16, [[60, 55, 52, 48]] * 31]
    (tmp_path / jsb.SIXTEENTHS).write_text(json.dumps({"train": pieces, "valid": pieces[:1], "test": pieces[:1]}))
    train = open_source("jsb", folder=tmp_path, data_dir=data_dir)
    assert len(train) == 3  # the second piece is half a beat too short
    assert len(open_source("jsb", split="validation", folder=tmp_path, data_dir=data_dir)) == 3
    last = int(np.argmax(train.take(np.arange(3))["bar"]))
    expected = [(0, 16, 72, 0), (16, 16, 74, 0), (0, 16, 67, 1), (0, 32, 64, 2), (0, 32, 48, 3)]
    np.testing.assert_array_equal(rows_of(train, last), expected)
    longer = open_source("jsb", folder=tmp_path, data_dir=data_dir, bars=4)
    assert (len(longer), longer.spec.shape) == (1, (64, 60, 8))
    with pytest.raises(DataError, match=r"no piece of a split has 5 bars in a row: .*--data\.bars"):
        open_source("jsb", folder=tmp_path, data_dir=data_dir, bars=5)
    with pytest.raises(DataError, match=jsb.QUARTERS):
        jsb.quarter_rolls(tmp_path)
    (tmp_path / jsb.QUARTERS).write_text("{}")
    with pytest.raises(DataError, match="train, valid, test"):
        jsb.quarter_rolls(tmp_path)
    (tmp_path / jsb.SIXTEENTHS).write_text("[")
    with pytest.raises(DataError, match="no JSON"):
        open_source("jsb", folder=tmp_path, data_dir=data_dir)


def test_the_published_benchmark(shared_data):
    rolls = jsb.quarter_rolls(shared_data / "jsb_chorales")
    assert {name: len(split) for name, split in rolls.items()} == {"train": 229, "validation": 76, "test": 77}
    assert sum(len(piece) for piece in rolls["test"]) == 4725
    splits = json.loads((shared_data / "jsb_chorales" / jsb.QUARTERS).read_text())
    keys = np.flatnonzero(rolls["test"][0][0]) + 21
    np.testing.assert_array_equal(keys, splits["test"][0][0])
