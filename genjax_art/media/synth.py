"""A small additive synthesiser: notes to sound, the same numbers every time.

Every note is a sum of harmonics under an envelope, each voice with a timbre of its own. A few echoes stand in
for a room.
"""

import io
import wave
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32

from genjax_art.music.midi import Song
from genjax_art.music.notes import STEPS_PER_BEAT, MusicError, Notes

Sound: TypeAlias = Callable[[Song], bytes]  # a song as a WAV file
RATE = 22050  # samples a second
PEAK = 0.89  # 1 dB below full scale
MAX_SECONDS = 1800
RELEASE = 0.15  # seconds in which a note fades after its end
TAIL = 0.6  # seconds of echo after the last note
ECHOES = ((0.031, 0.22), (0.047, 0.18), (0.083, 0.13), (0.127, 0.10), (0.211, 0.06))  # (seconds, gain)


class Timbre(NamedTuple):
    """Amplitudes of the harmonics 1, 2, ..., seconds of attack, and seconds in which it decays to 1/e."""

    harmonics: tuple[float, ...]
    attack: float
    decay: float


TIMBRES = (
    Timbre((1.0, 0.45, 0.22, 0.12, 0.05), 0.020, 1.6),  # flute-like, bright
    Timbre((1.0, 0.20, 0.40, 0.10, 0.18, 0.04), 0.025, 1.8),  # clarinet-like: odd harmonics
    Timbre((1.0, 0.60, 0.35, 0.25, 0.12, 0.08), 0.020, 2.0),  # string-like
    Timbre((1.0, 0.75, 0.40, 0.18, 0.10, 0.05, 0.03), 0.015, 2.4),  # bass: full below
)


def song_wav(song: Song) -> bytes:
    """A song as a WAV file, played by this synthesiser."""
    return wav_bytes(render(song.notes, song.tempo))


def render(notes: Notes, tempo: float = 100.0) -> Float32[np.ndarray, " samples"]:
    """The sound of `notes` at `tempo` quarter notes a minute, mono, `RATE` samples a second, peak `PEAK`.

    Raises:
      MusicError: a tempo that is not positive, or more than half an hour of sound.
    """
    seconds = seconds_of(notes, tempo)
    step = 60.0 / tempo / STEPS_PER_BEAT
    mix = np.zeros(int(seconds * RATE) + 1, np.float32)
    tones: dict[tuple[int, int, int], np.ndarray] = {}
    for start, length, pitch, voice in notes.rows.tolist():
        key = (length, pitch, voice % len(TIMBRES))
        if key not in tones:
            tones[key] = tone(440.0 * 2.0 ** ((pitch - 69) / 12), length * step, TIMBRES[key[2]])
        first = round(start * step * RATE)
        end = min(len(mix), first + len(tones[key]))
        mix[first:end] += tones[key][: end - first]
    return _loudness(_room(mix))


def seconds_of(notes: Notes, tempo: float) -> float:
    """How long `notes` sound. Raises MusicError as `render` does."""
    if not tempo > 0:
        raise MusicError(f"tempo = {tempo:g}: it counts quarter notes a minute and must be over 0")
    seconds = int(notes.end.max(initial=0)) * 60.0 / tempo / STEPS_PER_BEAT + RELEASE + TAIL
    if seconds > MAX_SECONDS:
        raise MusicError(f"{seconds / 60:.0f} minutes of sound are more than {MAX_SECONDS // 60}; write fewer bars")
    return seconds


def tone(frequency: float, seconds: float, timbre: Timbre) -> Float32[np.ndarray, " samples"]:
    """One note of `frequency` Hz that is let go after `seconds`; harmonics the rate cannot carry are left
    out.
    """
    time = np.arange(int((seconds + RELEASE) * RATE)) / RATE
    wave_form = np.zeros_like(time)
    for k, amplitude in enumerate(timbre.harmonics, start=1):
        if k * frequency < 0.45 * RATE:
            # higher harmonics die away sooner, as on strings
            wave_form += amplitude * np.exp(-time * (k - 1) / timbre.decay) * np.sin(2 * np.pi * k * frequency * time)
    attack = np.minimum(1.0, time / timbre.attack)
    release = np.clip((seconds + RELEASE - time) / RELEASE, 0.0, 1.0) ** 2
    envelope = attack * np.exp(-time / timbre.decay) * release
    return (envelope * wave_form / sum(timbre.harmonics)).astype(np.float32)


def _room(dry: np.ndarray) -> np.ndarray:
    """`dry` and its echoes."""
    wet = dry.copy()
    for seconds, gain in ECHOES:
        delay = int(seconds * RATE)
        wet[delay:] += np.float32(gain) * dry[:-delay]
    return wet


def _loudness(sound: np.ndarray) -> np.ndarray:
    """`sound` with its peak at `PEAK`; silence stays silence."""
    peak = np.abs(sound).max(initial=0.0)
    return sound if peak == 0 else sound * np.float32(PEAK / peak)


def wav_bytes(sound: Float32[np.ndarray, " samples"]) -> bytes:
    """A mono 16-bit WAV file of `sound` in [-1, 1]; what lies outside is clipped."""
    levels = np.round(np.clip(sound, -1.0, 1.0) * 32767).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(levels.tobytes())
    return stream.getvalue()
