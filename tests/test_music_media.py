"""Sound and pictures of music."""

import io
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genjax_art.errors import UsageError
from genjax_art.media import roll, synth
from genjax_art.media.medium import write
from genjax_art.media.roll import COLOURS, PITCH_HEIGHT, STEP_WIDTH, piano_roll, sheet, write_samples
from genjax_art.music.midi import read_midi
from genjax_art.music.notes import MusicError, notes_from_rows, roll_from_notes, roll_spec

CHORD = notes_from_rows([(0, 8, 72, 0), (0, 8, 67, 1), (0, 4, 64, 2), (4, 4, 64, 2), (0, 16, 48, 3)])


def batch(n=2):
    return np.stack([2.0 * roll_from_notes(CHORD, 32, 4) - 1.0] * n).astype(np.float32)


@pytest.mark.parametrize("voice", range(4))
@pytest.mark.parametrize("pitch", [36, 69, 81])
def test_a_tone_has_the_frequency_of_its_pitch(pitch, voice):
    sound = synth.render(notes_from_rows([(0, 16, pitch, voice)]), tempo=120.0)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    frequency = np.argmax(spectrum) * synth.RATE / len(sound)
    assert frequency == pytest.approx(440 * 2 ** ((pitch - 69) / 12), abs=0.6)


def test_voices_differ_in_timbre():
    sounds = [synth.render(notes_from_rows([(0, 8, 60, voice)])) for voice in range(4)]
    for i in range(4):
        for j in range(i):
            assert np.abs(sounds[i] - sounds[j]).max() > 0.05


def test_sound_is_loud_without_clipping_and_ends_in_silence():
    sound = synth.render(CHORD, 90.0)
    assert np.abs(sound).max() == pytest.approx(synth.PEAK, abs=1e-6)
    assert np.sqrt(np.mean(sound**2)) > 0.05
    assert abs(sound.mean()) < 1e-3
    assert np.abs(sound[-200:]).max() < 1e-3
    assert np.abs(np.diff(sound)).max() < 0.5  # no clicks
    seconds = 16 * 60 / 90 / 4 + synth.RELEASE + synth.TAIL
    assert len(sound) / synth.RATE == pytest.approx(seconds, abs=1e-3)
    np.testing.assert_array_equal(sound, synth.render(CHORD, 90.0))
    with wave.open(io.BytesIO(synth.wav_bytes(sound))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, synth.RATE)
        levels = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_allclose(levels / 32767, sound, atol=1 / 32767)


def test_no_notes_are_silence_and_too_many_an_error():
    assert not synth.render(notes_from_rows(())).any()
    with pytest.raises(MusicError, match="tempo"):
        synth.render(CHORD, 0.0)
    with pytest.raises(MusicError, match="minutes"):
        synth.render(notes_from_rows([(60000, 1, 60, 0)]), 100.0)


def test_a_piano_roll_shows_every_note_in_its_voice_s_colour():
    picture = piano_roll(CHORD, 32)
    assert picture.shape == (60 * PITCH_HEIGHT, 32 * STEP_WIDTH + 1, 3)
    for start, length, pitch, voice in CHORD.rows:
        row = (89 - pitch) * PITCH_HEIGHT + PITCH_HEIGHT // 2
        np.testing.assert_array_equal(picture[row, (start + length) * STEP_WIDTH - 2], COLOURS[voice])
        np.testing.assert_array_equal(picture[row, start * STEP_WIDTH + 1], COLOURS[voice] // 2)
    assert (picture[0, [0, 16 * STEP_WIDTH, 32 * STEP_WIDTH]] == 120).all()  # bar lines


def test_two_voices_on_one_pitch_are_both_seen():
    picture = piano_roll(notes_from_rows([(0, 4, 60, 0), (0, 4, 60, 1)]), 16)
    bar = picture[29 * PITCH_HEIGHT : 30 * PITCH_HEIGHT, 2 * STEP_WIDTH]
    assert {tuple(c) for c in bar.tolist()} == {tuple(COLOURS[0].tolist()), tuple(COLOURS[1].tolist())}


def test_samples_are_written_side_by_side_and_equal(tmp_path):
    metadata = {"seed": "7", "parameters": "abc"}
    paths = write_samples(tmp_path / "out", batch(), roll_spec(2, 4), metadata)
    assert [p.name for p in paths] == [f"0000{i}.{e}" for i in range(2) for e in ("mid", "wav", "png")]
    song = read_midi(paths[0])
    np.testing.assert_array_equal(song.notes.rows, CHORD.rows)
    assert song.texts == ("index: 0", "parameters: abc", "seed: 7")
    assert song.steps == 32
    with Image.open(paths[2]) as picture:
        assert picture.text["seed"] == "7"
    again = write_samples(tmp_path / "again", batch(), roll_spec(2, 4), metadata)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths]


def test_single_files_hold_all_pieces(tmp_path):
    (midi,) = write_samples(tmp_path / "a.mid", batch(3), roll_spec(2, 4), {})
    song = read_midi(midi)
    expected = np.concatenate([CHORD.rows + np.asarray([i * 32, 0, 0, 0]) for i in range(3)])
    np.testing.assert_array_equal(song.notes.rows, notes_from_rows(expected).rows)
    (wav,) = write_samples(tmp_path / "a.wav", batch(3), roll_spec(2, 4), {})
    with wave.open(str(wav)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(80 * 0.15 + 0.75, abs=0.01)
    (png,) = write_samples(tmp_path / "a.png", batch(3), roll_spec(2, 4), {})
    with Image.open(png) as picture:
        np.testing.assert_array_equal(np.asarray(picture), sheet(batch(3), roll_spec(2, 4)))
    with pytest.raises(UsageError, match=r"\.mid, \.wav, \.png, \.npz"):
        write_samples(tmp_path / "a.ogg", batch(), roll_spec(2, 4), {})
    with pytest.raises(ValueError, match="shape"):
        write(tmp_path / "a.mid", batch(), roll_spec(4, 4), {})


def test_a_view_of_a_roll_is_in_another_key_within_range_and_rests_once():
    low, high = 3, 55  # of 60 rows: at most 3 down and 4 up
    x = np.full((64, 32, 60, 8), -1, np.float32)
    x[:, ::2, low, 0] = x[:, ::4, high, 3] = 1
    x[0] = -1  # silence stays silence
    found = np.asarray(jax.jit(roll.alike)(jnp.asarray(x), jax.random.key(0)))
    assert found.shape == x.shape and set(np.unique(found)) == {-1.0, 1.0}
    assert np.all(found[0] == -1)
    moves, rests = set(), set()
    for before, after in zip(x[1:], found[1:], strict=True):
        (row,) = np.flatnonzero((after[..., 0] > 0).any(0))
        moves.add(int(row) - low)
        steps = np.flatnonzero((np.roll(before, row - low, 1) != after).any((1, 2)))
        assert np.all(after[steps] == -1) and (not len(steps) or steps[-1] - steps[0] < 8)
        rests.add(len(steps))
    assert moves == set(range(-3, 5)) and len(rests) > 2
