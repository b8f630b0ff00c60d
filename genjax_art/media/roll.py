"""Music as files: MIDI to open, WAV to hear, a piano roll in colours to see."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art.errors import RunError, UsageError
from genjax_art.files import printable, replacing
from genjax_art.media.image import grid, write_png
from genjax_art.media.medium import Medium, Reading
from genjax_art.media.synth import Sound, song_wav
from genjax_art.music.midi import Song, midi_bytes, read_midi
from genjax_art.music.notes import (
    LOWEST,
    PITCHES,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    Notes,
    binary_rolls,
    notes_from_roll,
    notes_from_rows,
    roll_from_notes,
    window,
)
from genjax_art.music.voices import assign_voices
from genjax_art.spec import ArraySpec

ENDINGS = ".mid, .wav, .png, .npz"  # the last by `medium.py`
# One colour per voice, distinct for colour-blind readers, too: Okabe & Ito, "Color Universal Design", 2008.
COLOURS = np.asarray(
    [
        (213, 94, 0),
        (0, 158, 115),
        (0, 114, 178),
        (204, 121, 167),
        (230, 159, 0),
        (86, 180, 233),
        (90, 90, 90),
    ],
    np.uint8,
)
BLACK_KEYS = (1, 3, 6, 8, 10)
SLOWEST, FASTEST = 4.0, 1000.0  # tempos that may be asked for; MIDI has none below 3.6
STEP_WIDTH = 8  # pixels
PITCH_HEIGHT = 6  # pixels
MAX_PNG_STEPS = 64 * STEPS_PER_BAR  # a wider picture shows its first 64 bars


def piano_roll(notes: Notes, steps: int) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of `notes`: time to the right, pitch 30 to 89 upwards, a colour per voice, lines at bars and
    beats.

    Rows of black keys are darker, Cs are marked by a line below. Where voices meet in a pitch, the lower
    voice's bar is drawn thinner on top. Pitches outside the range are left out.
    """
    steps = min(steps, MAX_PNG_STEPS)
    pitches = np.arange(LOWEST + PITCHES - 1, LOWEST - 1, -1)  # from the top
    rows = np.where(np.isin(pitches % 12, BLACK_KEYS), 236, 248).astype(np.uint8).repeat(PITCH_HEIGHT)
    rows[PITCH_HEIGHT - 1 :: PITCH_HEIGHT][pitches % 12 == 0] = 205
    sheet = np.broadcast_to(rows[:, None, None], (len(rows), steps * STEP_WIDTH + 1, 3)).copy()
    sheet[:, :: STEPS_PER_BEAT * STEP_WIDTH] = 215
    sheet[:, :: STEPS_PER_BAR * STEP_WIDTH] = 120
    shown = (notes.pitch >= LOWEST) & (notes.pitch < LOWEST + PITCHES) & (notes.start < steps)
    drawn: set[tuple[int, int]] = set()
    for start, length, pitch, voice in notes.where(shown).rows.tolist():
        top = (LOWEST + PITCHES - 1 - pitch) * PITCH_HEIGHT
        left, right = start * STEP_WIDTH, min(start + length, steps) * STEP_WIDTH
        cells = {(step, pitch) for step in range(start, min(start + length, steps))}
        inset = 2 if cells & drawn else 0
        drawn |= cells
        colour = COLOURS[voice % len(COLOURS)]
        sheet[top + inset : top + PITCH_HEIGHT - inset, left + 1 : right] = colour
        sheet[top + inset : top + PITCH_HEIGHT - inset, left + 1 : left + 3] = colour // 2  # the onset
    return sheet


def write_song(out: Path, song: Song, metadata: Mapping[str, str], sound: Sound | None = None) -> list[Path]:
    """Write one song as `.mid` (with the metadata as texts), `.wav` or `.png`; without an ending, all three.

    `sound` plays the WAV; None is the built-in synthesiser. Files of the same name are replaced in one step; the same
    song and metadata give the same bytes.
    """
    texts = tuple(f"{key}: {value}" for key, value in sorted(metadata.items()))
    match out.suffix.lower():
        case ".mid":
            _write(out, midi_bytes(_with_texts(song, texts)))
        case ".wav":
            _write(out, (sound or song_wav)(song))
        case ".png":
            write_png(out, piano_roll(song.notes, song.steps), metadata)
        case "":
            endings = (".mid", ".wav", ".png")
            return [path for ending in endings for path in write_song(out.with_suffix(ending), song, metadata, sound)]
        case _:
            raise UsageError(f"unknown ending {out.suffix!r} of {out}: use {ENDINGS}, or no ending for a folder")
    return [out]


def _with_texts(song: Song, texts: tuple[str, ...]) -> Song:
    return Song(song.notes, song.steps, song.tempo, song.programs, song.names, (*song.texts, *texts))


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


def join_rolls(rolls: UInt8[np.ndarray, "n steps 60 planes"]) -> Song:
    """All pieces of a batch one after another, as one song."""
    steps = rolls.shape[1]
    rows = [notes_from_roll(roll).rows + np.asarray([i * steps, 0, 0, 0]) for i, roll in enumerate(rolls)]
    return Song(notes_from_rows(np.concatenate(rows) if rows else ()), len(rolls) * steps)


def sheet(x: Float[np.ndarray, "n steps 60 planes"], spec: ArraySpec) -> UInt8[np.ndarray, "h w 3"]:
    """The piano rolls of all pieces in one picture, row by row."""
    rolls = binary_rolls(x, spec)
    return grid(np.stack([piano_roll(notes_from_roll(roll), len(roll)) for roll in rolls]), padding=4)


def write_samples(
    out: Path,
    x: Float[np.ndarray, "n steps 60 planes"],
    spec: ArraySpec,
    metadata: Mapping[str, str],
    *,
    tempo: float | None = None,
    soundfont: Path | None = None,
) -> list[Path]:
    """Write music as the ending of `out` asks and return the files written.

    `x` is decoded at the middle of the spec's range (see `notes.decode_roll`). `.mid`, `.wav`: all pieces one
    after another. `.png`: their piano rolls in one grid. No ending, or a folder that exists: `00000.mid`,
    `00000.wav`, `00000.png` and so on for each piece, with its `index`. Files of the same name are replaced,
    others in the folder stay.

    Args:
      tempo: quarter notes a minute (default: those of the file that is gone on with or varied, else 100).
      soundfont: play the WAV by the program FluidSynth with this soundfont (.sf2, .sf3) instead of the built-in
        synthesiser.

    Raises:
      UsageError: another ending, or a tempo that MIDI does not have. MusicError: a soundfont that cannot be played.
    """
    sound, beats = sound_of(soundfont), checked_tempo(tempo)
    rolls = binary_rolls(x, spec)
    if out.suffix.lower() == ".png" and not out.is_dir():
        write_png(out, sheet(x, spec), metadata)
        return [out]
    if out.suffix and not out.is_dir():
        song = join_rolls(rolls)
        return write_song(out, Song(song.notes, song.steps, beats), metadata, sound)
    paths: list[Path] = []
    for i, roll in enumerate(rolls):
        song = Song(notes_from_roll(roll), len(roll), beats)
        paths += write_song(out / f"{i:05d}", song, {**metadata, "index": str(i)}, sound)
    return paths


def write_wholes(
    out: Path,
    wholes: Sequence[Float[np.ndarray, "steps 60 planes"]],
    spec: ArraySpec,
    about: Mapping[str, str],
    rate: float | None,
    in_one: bool,
    *,
    tempo: float | None = None,
    soundfont: Path | None = None,
) -> list[Path]:
    """Write pieces of any length as songs, in `rate` quarter notes a minute, as the ending of `out` asks.

    One after another in one song (`in_one`), or each in files of its own: `name-0.mid`, `name-1.mid`, ... if there are
    several, each with its `index`. Without an ending MIDI, WAV and PNG. Options as of `write_samples`.
    """
    sound, beats = sound_of(soundfont), checked_tempo(tempo, rate)
    songs = [Song(notes_from_roll(binary_rolls(whole, spec)), len(whole), beats) for whole in wholes]
    if in_one:
        ends = np.cumsum([0] + [song.steps for song in songs])
        rows = [song.notes.rows + np.asarray([start, 0, 0, 0]) for song, start in zip(songs, ends, strict=False)]
        songs = [Song(notes_from_rows(np.concatenate(rows)), int(ends[-1]), beats)]
    if out.suffix.lower() not in ("", ".mid", ".wav", ".png"):
        raise UsageError(f"unknown ending {out.suffix!r} of {out}: use {ENDINGS}, or no ending for all three")
    paths: list[Path] = []
    for i, song in enumerate(songs):
        name = out if len(songs) == 1 else out.with_name(f"{out.stem}-{i}{out.suffix}")
        paths += write_song(name, song, {**about, "index": str(i)} if len(songs) > 1 else about, sound)
    return paths


def checked_tempo(asked: float | None, own: float | None = None) -> float:
    """The tempo that is asked for, else the piece's own, else 100. Raises UsageError where MIDI does not have it."""
    if asked is not None and not SLOWEST <= asked <= FASTEST:
        raise UsageError(f"--tempo must be {SLOWEST:g} to {FASTEST:g} quarter notes a minute, got {asked:g}")
    return asked or own or 100.0


def sound_of(soundfont: Path | None) -> Sound | None:
    """FluidSynth with that soundfont; None for the built-in synthesiser."""
    if soundfont is None:
        return None
    from genjax_art.media.fluidsynth import soundfont_player

    return soundfont_player(soundfont)


def read_music(file: Path, spec: ArraySpec) -> Reading:
    """The 4/4 bars of a MIDI file as one roll of as many voices as the spec has, and its tempo.

    The first section in 4/4 is read, with the pickup that leads into it at the end of a bar of its own. Notes beyond
    the voices or the roll's range, and other sections, are left out, with a warning.

    Raises:
      MusicError: not a MIDI file, damaged, empty, drums only or nowhere in 4/4.
      RunError: no note is left.
    """
    voices = spec.channels // 2
    song = read_midi(file)
    name = printable(file)
    notes, left_out = assign_voices(song.notes, voices)
    start, end = song.sections[0]
    if song.pickup:
        start -= STEPS_PER_BAR
    steps = -(-(end - start) // STEPS_PER_BAR) * STEPS_PER_BAR
    notes = window(notes, start, steps)
    if not len(notes):
        raise RunError(f"{name} has no notes from MIDI pitch 30 to 89 in its first section in 4/4; transpose it")
    if left_out or song.moved or len(song.sections) > 1:
        logging.getLogger(__name__).warning(
            "%s: %d notes left out, %d moved to the grid of sixteenths, %d of %d sections in 4/4 read",
            *(name, left_out, song.moved, 1, len(song.sections)),
        )
    last = -(-int(notes.end.max()) // STEPS_PER_BAR) * STEPS_PER_BAR
    roll = roll_from_notes(notes, steps, voices)[:last]
    whole = spec.low + np.float32(spec.high - spec.low) * roll.astype(np.float32)
    return Reading(printable(file.name), whole, song.tempo)


def alike(x: Any, key: Any) -> Any:
    """See `roll_views.py`, which needs JAX."""
    from genjax_art.media.roll_views import alike

    return alike(x, key)


MEDIUM = Medium(
    metrics=("music_report",),
    scores=("music_distance", "sliced_wasserstein", "kd_own"),
    alike=alike,
    write=write_samples,
    sheet=sheet,
    samples=(".mid", ".wav", ".png"),
    walk=(".mid", ".wav", ".png"),
    frames=4,  # each is a whole piece
    reads="midi",
    read=read_music,
    write_wholes=write_wholes,
    unit=STEPS_PER_BAR,
    unit_name="bars",
)
