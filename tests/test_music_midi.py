"""MIDI files: what is written comes back, what is found in the wild is read or refused in one line."""

import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from test_music_notes import one_note_at_a_time

from genjax_art.music.midi import Song, midi_bytes, read_midi
from genjax_art.music.notes import MusicError, notes_from_roll, notes_from_rows, roll_from_notes

SCALE = notes_from_rows([(4 * i, 4, 60 + i, 0) for i in range(8)])


def file_bytes(*tracks, ticks=480, kind=1) -> bytes:
    """A file of (type, {fields}) messages; meta messages are told by their type."""
    midi = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for track in tracks:
        messages = []
        for name, fields in track:
            maker = mido.Message if name in ("note_on", "note_off", "program_change") else mido.MetaMessage
            messages.append(maker(name, **fields))
        midi.tracks.append(mido.MidiTrack(messages))
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def on(pitch, time=0, velocity=64, channel=0):
    return "note_on", {"note": pitch, "time": time, "velocity": velocity, "channel": channel}


def off(pitch, time=0, channel=0):
    return "note_off", {"note": pitch, "time": time, "channel": channel}


def meter(numerator, denominator, time=0):
    return "time_signature", {"numerator": numerator, "denominator": denominator, "time": time}


@settings(max_examples=30, deadline=None)
@given(one_note_at_a_time())
def test_midi_tensor_midi(notes):
    if not len(notes):
        return
    names = ("Soprano", "Alto", "Tenor", "Bass")
    first = midi_bytes(Song(notes, 32, names=names))
    song = read_midi(first)
    used = np.unique(notes.voice)  # a silent voice leaves no notes to read
    np.testing.assert_array_equal(used[song.notes.voice], notes.rows[:, 3])
    np.testing.assert_array_equal(song.notes.rows[:, :3], notes.rows[:, :3])
    again = notes_from_roll(roll_from_notes(song.notes, song.steps, 4))
    np.testing.assert_array_equal(again.rows, song.notes.rows)
    assert (song.steps, song.moved, song.unended, song.drums) == (32, 0, 0, 0)


def test_everything_else_of_a_song_comes_back():
    song = Song(SCALE, 48, 90.0, (19,), ("Melodie",), ("seed: 3", "Straße"))
    content = midi_bytes(song)
    assert content == midi_bytes(song)
    back = read_midi(content)
    assert (back.programs, back.names, back.texts, back.steps) == (
        (19,),
        ("Melodie",),
        ("seed: 3", "Straße"),
        48,
    )
    assert back.tempo == pytest.approx(90.0, rel=1e-6)
    assert back.sections == ((0, 48),)


def test_simultaneous_repeats_and_velocity_zero():
    # the new note starts before the old one's end is said, at the same tick
    content = file_bytes([on(60), on(60, 480), off(60), on(60, 480, velocity=0)])
    np.testing.assert_array_equal(read_midi(content).notes.rows, [(0, 4, 60, 0), (4, 4, 60, 0)])


def test_notes_without_an_end_stop_at_the_next_or_with_the_track():
    content = file_bytes([on(60), on(60, 480), on(62, 480), on(61, 480), off(61, 480), ("end_of_track", {"time": 480})])
    song = read_midi(content)
    np.testing.assert_array_equal(song.notes.rows, [(0, 4, 60, 0), (4, 16, 60, 0), (8, 12, 62, 0), (12, 4, 61, 0)])
    assert song.unended == 3


def test_off_grid_notes_are_moved_and_counted():
    song = read_midi(file_bytes([on(60, 10), off(60, 470), on(62), off(62, 5), on(64, 595), off(64, 120)]))
    np.testing.assert_array_equal(song.notes.rows, [(0, 4, 60, 0), (4, 1, 62, 0), (9, 1, 64, 0)])
    assert song.moved == 2


def test_formats_tracks_and_channels():
    tracks = [[on(60), off(60, 96), on(61, channel=1), off(61, 96, channel=1)], [on(50), off(50, 192)]]
    same_time = read_midi(file_bytes(*tracks, ticks=96)).notes.rows
    np.testing.assert_array_equal(same_time, [(0, 4, 60, 0), (4, 4, 61, 1), (0, 8, 50, 2)])
    in_turn = read_midi(file_bytes(*tracks, ticks=96, kind=2)).notes.rows
    np.testing.assert_array_equal(in_turn, [(0, 4, 60, 0), (4, 4, 61, 1), (16, 8, 50, 2)])
    single = read_midi(file_bytes(tracks[0], ticks=96, kind=0)).notes.rows
    np.testing.assert_array_equal(single, same_time[:2])


def test_meters_drums_and_tempos():
    content = file_bytes(
        [
            meter(3, 4),
            meter(4, 4, 480 * 6),
            ("set_tempo", {"tempo": 400000}),
            ("set_tempo", {"tempo": 9, "time": 480}),
        ],
        [on(36, channel=9), off(36, 480, channel=9), on(60), off(60, 480 * 14)],
    )
    song = read_midi(content)
    assert song.sections == ((24, 64),)  # six quarter notes of 3/4, then 4/4 to the end of the bar
    assert song.tempo == pytest.approx(150.0)
    assert song.drums == 1
    assert len(song.notes) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MIDI file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "not a MIDI file"),
        (b"MThd", "header is incomplete"),
        (midi_bytes(Song(SCALE, 32))[:90], "damaged"),
        (
            midi_bytes(Song(SCALE, 32))[:12] + b"\xe7\x28" + midi_bytes(Song(SCALE, 32))[14:],
            "ticks per quarter",
        ),
        (
            file_bytes([("key_signature", {"key": "C"}), on(60), off(60, 480)]).replace(b"Y\2\0\0", b"Y\2\x09\0"),
            "damaged",
        ),
        (file_bytes([]), "no notes"),
        (file_bytes([on(40, channel=9), off(40, 480, channel=9)]), "only drums"),
        (file_bytes([meter(3, 4), on(60), off(60, 480)]), "nowhere in 4/4"),
        (file_bytes([on(60, 2**27), off(60, 1)]), "longer than 4096 bars"),
    ],
)
def test_bad_files_are_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(content)
    with pytest.raises(MusicError, match=message) as raised:
        read_midi(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    with pytest.raises(MusicError, match="No such file"):
        read_midi(tmp_path / "absent.mid")


def test_ten_megabytes_are_refused_before_they_are_parsed(tmp_path, monkeypatch):
    path = tmp_path / "large.mid"
    track = bytes((0, 0x90, 60, 64, 1, 0x80, 60, 0)) * (10 * 2**20 // 8)
    path.write_bytes(midi_bytes(Song(SCALE, 32))[:14] + b"MTrk" + len(track).to_bytes(4, "big") + track)
    monkeypatch.setattr(mido, "MidiFile", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(MusicError, match="larger than the 1 MB"):
        read_midi(path)


def test_damage_anywhere_is_read_or_refused():
    content = midi_bytes(Song(SCALE, 32, texts=("seed",)))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(content)
        for place in rng.integers(14, len(content), 3):
            broken[place] = rng.integers(256)
        try:
            read_midi(bytes(broken))
        except MusicError:
            refused += 1
    assert 0 < refused < 300
