"""Sound by the program FluidSynth: what it is asked for, and that whatever goes wrong is one line."""

import numpy as np
import pytest
from test_music_media import CHORD, batch

from genjax_art.media import fluidsynth
from genjax_art.media.medium import write as write_any
from genjax_art.media.roll import write_samples
from genjax_art.media.synth import song_wav
from genjax_art.music.midi import Song, read_midi
from genjax_art.music.notes import MusicError, notes_from_rows, roll_spec

# a program that keeps its words and the MIDI file, and writes what a test can tell from music
SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > "$0.words"
while [ "$1" != -F ]; do shift; done
cp "$4" "$0.mid"
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """`program(line)` is the only program on the PATH besides the shell's own, and ends by `line`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(line='printf sound > "$2"'):
        path = folder / "fluidsynth"
        path.write_text(SCRIPT + line + "\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def soundfont(tmp_path):
    path = tmp_path / "my font.sf2"
    path.write_bytes(b"RIFF\0\0\0\0sfbk")
    return path


def test_the_wav_is_what_the_program_makes_of_the_midi(program, soundfont, tmp_path, monkeypatch):
    path = program()
    monkeypatch.chdir(tmp_path)
    font = soundfont.relative_to(tmp_path)
    paths = write_samples(tmp_path / "out", batch(1), roll_spec(2, 4), {"seed": "1"}, soundfont=font)
    assert [p.name for p in paths] == ["00000.mid", "00000.wav", "00000.png"]
    assert paths[1].read_bytes() == b"sound"
    words = path.with_name("fluidsynth.words").read_text().splitlines()
    assert words[:2] == ["-n", "-i"] and words[-2] == str(soundfont)
    played = read_midi(path.with_name("fluidsynth.mid"))
    np.testing.assert_array_equal(played.notes.rows, CHORD.rows)
    assert played.tempo == pytest.approx(100.0)
    (single,) = write_any(tmp_path / "a.wav", batch(2), roll_spec(2, 4), {}, soundfont=font)
    assert single.read_bytes() == b"sound"


def test_the_built_in_synthesiser_is_the_default(tmp_path):
    (wav,) = write_any(tmp_path / "a.wav", batch(1), roll_spec(2, 4), {})
    assert wav.read_bytes() == song_wav(Song(CHORD, 32, 100.0))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("echo 'fluidsynth: error: SoundFont file size mismatch' >&2; printf x > \"$2\"", "size mismatch"),
        ("echo 'no sound card' >&2; exit 3", "no sound card"),
        ("exit 1", "says nothing"),
        ("true", "says nothing"),
    ],
)
def test_what_the_program_cannot_do_is_one_line(program, soundfont, line, says):
    program(line)
    with pytest.raises(MusicError, match=says) as raised:
        fluidsynth.soundfont_player(soundfont)(Song(CHORD, 32))
    assert str(soundfont) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_program_or_soundfont_is_named_at_once(program, soundfont, tmp_path, monkeypatch):
    program()
    with pytest.raises(MusicError, match=r"none\.sf2 cannot be read: No such file"):
        fluidsynth.soundfont_player(tmp_path / "none.sf2")
    soundfont.write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    with pytest.raises(MusicError, match="is no soundfont"):
        fluidsynth.soundfont_player(soundfont)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MusicError, match="needs the program fluidsynth"):
        fluidsynth.soundfont_player(soundfont)


def test_too_much_music_is_refused(program, soundfont, tmp_path):
    program()
    sound = fluidsynth.soundfont_player(soundfont)
    with pytest.raises(MusicError, match="minutes"):
        sound(Song(notes_from_rows([(60000, 1, 60, 0)]), 60001))
