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
    assert song.sections == ((24, 72),)  # six quarter notes of 3/4, then 4/4; the last bar is filled up
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
    monkeypatch.setattr("genjax_art.music.midi.parse_smf", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(MusicError, match="larger than the 1 MB"):
        read_midi(path)


# What players open. Raw bytes: no writer makes these.


def meta(kind: int, content: bytes = b"") -> bytes:
    return bytes([0, 0xFF, kind, len(content)]) + content


END = meta(0x2F)
TWO = bytes([0, 0x90, 60, 64, 96, 60, 0, 0, 62, 64, 96, 62, 0])  # two quarter notes, running status throughout
EXPECTED = [(0, 4, 60, 0), (4, 4, 62, 0)]


def chunk(tag: bytes, content: bytes, length: int | None = None) -> bytes:
    return tag + (len(content) if length is None else length).to_bytes(4, "big") + content


def head(kind: int = 0, tracks: int = 1, more: bytes = b"") -> bytes:
    return chunk(b"MThd", bytes([0, kind, 0, tracks, 0, 96]) + more)


def smf(*tracks: bytes, kind: int = 0) -> bytes:
    return head(kind, len(tracks)) + b"".join(chunk(b"MTrk", track) for track in tracks)


def riff(content: bytes, before: bytes = b"") -> bytes:
    body = b"RMID" + before + b"data" + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body + b"LIST\4\0\0\0INFO"


WHOLE = chunk(b"MTrk", TWO + END)
OPENED = {
    "a plain file": smf(TWO + END),
    "a key of 8 flats": smf(meta(0x59, bytes([248, 0])) + TWO + END),
    "a key of mode 255": smf(meta(0x59, bytes([0, 255])) + TWO + END),
    "a key without content": smf(meta(0x59) + TWO + END),
    "a meter of two bytes": smf(meta(0x58, b"\4\2") + TWO + END),
    "a meter of no bytes": smf(meta(0x58) + TWO + END),
    "a meter of 4 over 2^99": smf(meta(0x58, b"\4\x63\x18\x08") + TWO + END),
    "a tempo of two bytes": smf(meta(0x51, b"\7\xa1") + TWO + END),
    "a tempo of zero": smf(meta(0x51, bytes(3)) + TWO + END),
    "other metas of odd length": smf(b"".join(meta(kind, b"\1") for kind in (0, 0x20, 0x21, 0x54, 0x7F)) + TWO + END),
    "2/2": smf(meta(0x58, b"\2\1\x18\x08") + TWO + END),
    "8/8": smf(meta(0x58, b"\x08\3\x18\x08") + TWO + END),
    "16/16": smf(meta(0x58, b"\x10\4\x18\x08") + TWO + END),
    "more tracks counted than there are": head(1, 3) + WHOLE,
    "fewer tracks counted than there are": head(1, 0) + WHOLE,
    "format 3": smf(TWO + END, kind=3),
    "RIFF": riff(smf(TWO + END)),
    "RIFF with another chunk before": riff(smf(TWO + END), b"DISP\3\0\0\0abc\0"),
    "MacBinary": bytes(128) + smf(TWO + END),
    "a longer header": head(more=b"more") + WHOLE,
    "a wrong length of the header": b"MThd\0\0\0\x09" + head()[8:] + WHOLE,
    "bytes after the last track": smf(TWO + END) + b"\0\1junk",
    "a chunk of another kind after it": smf(TWO + END) + chunk(b"XFIH", b"abc"),
    "a chunk of another kind before it": head() + chunk(b"XFKM", b"abc") + WHOLE,
    "a byte of padding": head(1, 2) + chunk(b"MTrk", END) + b"\0" + WHOLE,
    "a track of no bytes": smf(b"", TWO + END, kind=1),
    "a track too long by its length": head() + chunk(b"MTrk", TWO + END, 999),
    "a track too short by its length": head(1, 2) + chunk(b"MTrk", TWO + END, 5) + chunk(b"MTrk", END),
    "a length of zero": head() + chunk(b"MTrk", TWO + END, 0),
    "no end of track": smf(TWO),
    "an end of track, and more": smf(TWO[:7] + END + b"\0\x90" + TWO[8:] + END),
    "zeros after the end of track": smf(TWO + END + bytes(9)),
    "an end of track a million beats late": smf(TWO + b"\xad\xe2\x80\x00" + END[1:]),
    "an event a million beats late": smf(TWO + b"\xad\xe2\x80\x00" + meta(1, b"end")[1:] + END),
    "a meter a million beats late": smf(TWO + b"\xad\xe2\x80\x00" + meta(0x58, b"\3\2\x18\x08")[1:] + END),
    "a running status over a meta": smf(TWO[:7] + meta(1, b"hi") + TWO[7:] + END),
    "a running status over a system message": smf(TWO[:7] + b"\0\xf0\2\x41\xf7" + TWO[7:] + END),
    "a message that has no place in a file": smf(b"\0\xf8" + TWO[:7] + b"\0\xf4" + TWO[7:] + END),
    "a velocity of 200": smf(TWO.replace(b"\x40", b"\xc8") + END),
    "a number of five bytes": smf(b"\x80\x80\x80\x80" + TWO + END),
}


@pytest.mark.parametrize("name", OPENED)
def test_what_players_open_is_read(name):
    song = read_midi(OPENED[name])
    np.testing.assert_array_equal(song.notes.rows, EXPECTED)
    assert song.sections == ((0, 16),) and song.steps == 16 and song.unended == 0 and song.tempo == 120.0


@pytest.mark.parametrize("controller", [120, 123, 126])
def test_controllers_end_the_notes_of_their_channel(controller):
    silence = bytes([0x81, 0x40, 0xB0, controller, 0])  # after two quarter notes
    start = bytes([0, 0x90, 60, 64, 0, 0x91, 50, 64])  # on two channels
    again = bytes([0, 0x90, 62, 64]) + silence + bytes([0, 0x80, 60, 0, 0x81, 0x40, 0x81, 50, 0])
    rows = [(0, 8, 60, 0), (8, 8, 62, 0), (0, 24, 50, 1)]
    song = read_midi(smf(start + silence + again + END))
    np.testing.assert_array_equal(song.notes.rows, rows)
    assert song.unended == 0
    # the same from another track
    notes = start + bytes([0x81, 0x40, 0x90, 62, 64, 0x83, 0, 0x81, 50, 0]) + END
    song = read_midi(smf(silence + silence + END, notes, kind=1))
    np.testing.assert_array_equal(song.notes.rows, rows)


@pytest.mark.parametrize("numerator", [1, 2, 3])
def test_a_pickup_and_the_last_bar_are_kept(numerator):
    """Of a pickup in a meter of its own, and of one that a second 4/4 follows; the last bar lacks as much."""
    beats = [message for i in range(16) for message in (on(60 + i), off(60 + i, 480))]
    for first in (meter(numerator, 4), meter(4, 4)):
        song = read_midi(file_bytes([first, meter(4, 4, 480 * numerator)], beats))
        lead = 4 * numerator
        assert (song.pickup, song.sections) == (lead, ((lead, lead + 64),))
    without = read_midi(file_bytes([meter(4, 4)], beats))
    assert (without.pickup, without.sections) == (0, ((0, 64),))


def test_a_whole_bar_in_another_meter_is_no_pickup():
    song = read_midi(file_bytes([meter(5, 4), meter(4, 4, 480 * 5), on(60), off(60, 480 * 4)]))
    assert (song.pickup, song.sections) == (0, ((20, 36),))


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (b"\0\x90\x3c", "ends too early"),
        (b"\0\x3c\x40", "running status"),
        (b"\x80" * 9 + TWO, "more than 8 bytes"),
        (b"\0\xff\1\x7fabc", "ends too early"),
    ],
)
def test_damage_is_named(track, message):
    with pytest.raises(MusicError, match=f"damaged MIDI file: .*{message}"):
        read_midi(smf(track))


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
