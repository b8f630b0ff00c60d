"""Standard MIDI files to notes on the grid of sixteenths, and back, in deterministic bytes.

The reader takes what files in the wild hold (any number of tracks, formats 0, 1 and 2, tempo changes, note-
ons of velocity 0, notes that never end) and reports what it had to move, end or leave out.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int

from genjax_art.music.notes import STEPS_PER_BAR, STEPS_PER_BEAT, MusicError, Notes, notes_from_rows

MAX_BYTES = 2**20  # some two seconds of reading; a whole symphony has half of that
MAX_STEPS = 2**16  # 4,096 bars; a single wrong delta time can ask for a million
TICKS_PER_STEP = 120
TICKS_PER_BEAT = TICKS_PER_STEP * STEPS_PER_BEAT
DRUMS = 9  # the General MIDI percussion channel, counted from 0
PROGRAMS = (48, 48, 48, 48)  # string ensemble, where a song names none
CHORALE_VOICES = ("Soprano", "Alto", "Tenor", "Bass")

_Span: TypeAlias = tuple[tuple[int, int], int, int, int]  # (track, channel), start and end tick, pitch


@dataclass(frozen=True)
class Song:
    """Music with the other contents of a MIDI file.

    `sections` are [start, end) steps of 4/4 time. `tempo` (the first one) counts quarter notes per minute.
    `moved`, `unended` and `drums` count notes that were off the grid, that no event ended, and that were left
    out as percussion.
    """

    notes: Notes
    steps: int
    tempo: float = 100.0
    programs: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sections: tuple[tuple[int, int], ...] = ()
    moved: int = 0
    unended: int = 0
    drums: int = 0


def read_midi(file: Path | str | bytes) -> Song:
    """The notes of a MIDI file (a path, or its bytes), rounded to sixteenths; a voice is a track and channel.

    A note keeps at least one step. Notes without an end last until their pitch starts again or the track
    ends.

    Raises:
      MusicError: no MIDI file, damaged, over 1 MB or 4,096 bars, without notes, drums only, or nowhere in
      4/4.
    """
    name = "the MIDI data" if isinstance(file, bytes) else str(file)
    events = _Events()
    midi = _parse(_content(file, name), name)
    offset = 0
    for number, track in enumerate(midi.tracks):
        end = _read_track(events, number, track, offset)
        if midi.type == 2:  # independent patterns: one after another, each from a new bar
            bar = 4 * midi.ticks_per_beat
            offset = -(-end // bar) * bar
        events.end = max(events.end, end)
    return _song(events, midi.ticks_per_beat / STEPS_PER_BEAT, name)


@dataclass
class _Running:
    """A note that sounds. `owed` ends of older notes of its pitch are still to come (the oldest note ends
    first), and only the end after those is its own; `end` is the latest of them, in case its own never
    comes.
    """

    start: int
    owed: int
    end: int | None = None


@dataclass
class _Events:
    """The contents of the tracks, times in ticks."""

    spans: list[_Span] = field(default_factory=list)
    meters: list[tuple[int, bool]] = field(default_factory=list)  # (tick, is 4/4)
    tempos: list[tuple[int, int]] = field(default_factory=list)  # (tick, microseconds per quarter note)
    texts: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    programs: dict[tuple[int, int], int] = field(default_factory=dict)
    unended: int = 0
    end: int = 0

    def add(self, track: int, key: tuple[int, int], note: _Running, tick: int) -> None:
        channel, pitch = key
        self.spans.append(((track, channel), note.start, tick if note.end is None else note.end, pitch))


def _content(file: Path | str | bytes, name: str) -> bytes:
    if isinstance(file, bytes):
        content = file
    else:
        try:
            with open(file, "rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise MusicError(f"{name} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise MusicError(f"{name} is larger than the {MAX_BYTES // 2**20} MB that are read of a MIDI file; split it")
    return content


def _parse(content: bytes, name: str) -> Any:
    """The `mido.MidiFile` of `content`."""
    mido = import_mido()
    if content[:4] != b"MThd":
        raise MusicError(f"{name} is not a MIDI file (it does not begin with 'MThd')")
    if len(content) < 14:
        raise MusicError(f"{name} is a damaged MIDI file: its header is incomplete")
    if struct.unpack(">h", content[12:14])[0] <= 0:
        raise MusicError(f"{name} does not count its time in ticks per quarter note; save it with musical time")
    try:
        return mido.MidiFile(file=io.BytesIO(content), clip=True)
    except Exception as error:  # mido raises many kinds of errors for a damaged file
        reason = " ".join(str(error).split()) or "it ends too early"
        raise MusicError(f"{name} is a damaged MIDI file: {reason}") from None


def import_mido() -> Any:
    """The mido module, or a `MusicError` that names the package to install."""
    try:
        import mido
    except ImportError:
        raise MusicError('MIDI needs the mido package; install it with: pip install -e ".[music]"') from None
    return mido


def _read_track(events: _Events, number: int, track: Sequence[Any], tick: int) -> int:
    """Add the contents of one track, from `tick` on; returns the tick of its end."""
    running: dict[tuple[int, int], _Running] = {}
    for message in track:
        tick += message.time
        kind = message.type
        if kind in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if kind == "note_on" and message.velocity > 0:
                older = running.get(key)
                if older:
                    events.add(number, key, older, tick)
                running[key] = _Running(tick, older.owed + 1 if older else 0)
            elif key in running and running[key].owed:
                running[key].owed -= 1
                running[key].end = tick
            elif key in running:
                running[key].end = tick
                events.add(number, key, running.pop(key), tick)
        elif kind == "time_signature":
            events.meters.append((tick, (message.numerator, message.denominator) == (4, 4)))
        elif kind == "set_tempo":
            events.tempos.append((tick, message.tempo))
        elif kind == "program_change":
            events.programs.setdefault((number, message.channel), message.program)
        elif kind == "track_name":
            events.names[number] = _text(message.name)
        elif kind == "text":
            events.texts.append(_text(message.text))
    for key, note in running.items():
        events.unended += note.owed + 1
        events.add(number, key, note, tick)
    return tick


def _text(text: str) -> str:
    """mido reads texts as Latin-1; most are UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _song(events: _Events, ticks_per_step: float, name: str) -> Song:
    """The song of the collected events."""
    spans = [s for s in events.spans if s[0][1] != DRUMS]
    if not spans:
        raise MusicError(
            f"{name} has only drums; notes of pitch are needed" if events.spans else f"{name} has no notes"
        )
    if events.end / ticks_per_step > MAX_STEPS:
        raise MusicError(f"{name} is longer than {MAX_STEPS // STEPS_PER_BAR} bars; split it")
    sections = _sections(events, ticks_per_step)
    if not sections:
        raise MusicError(f"{name} is nowhere in 4/4 time; only 4/4 music can be used")
    keys = sorted({s[0] for s in spans})
    voice_of = {key: i for i, key in enumerate(keys)}
    rows = np.asarray([(a, b, pitch, voice_of[key]) for key, a, b, pitch in spans], np.int64)
    exact = rows[:, :2] / ticks_per_step
    start, end = np.floor(exact + 0.5).astype(np.int64).T
    length = np.maximum(end - start, 1)
    moved = (start != exact[:, 0]) | (start + length != exact[:, 1])
    notes = notes_from_rows(np.stack([start, length, rows[:, 2], rows[:, 3]], 1))
    steps = max(int(notes.end.max()), round(events.end / ticks_per_step))
    return Song(
        notes=notes_from_rows(notes.rows),
        steps=-(-steps // STEPS_PER_BAR) * STEPS_PER_BAR,
        tempo=60e6 / min(events.tempos)[1] if events.tempos and min(events.tempos)[1] else 120.0,
        programs=tuple(events.programs.get(key, 0) for key in keys),
        names=tuple(events.names.get(track, "") for track, _ in keys),
        texts=tuple(events.texts),
        sections=sections,
        moved=int(moved.sum()),
        unended=events.unended,
        drums=len(events.spans) - len(spans),
    )


def _sections(events: _Events, ticks_per_step: float) -> tuple[tuple[int, int], ...]:
    """[start, end) steps of 4/4 time, which also holds before the first time signature."""
    meters = sorted(events.meters, key=lambda meter: meter[0])
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0, True))
    starts = [round(tick / ticks_per_step) for tick, _ in meters]
    bar = STEPS_PER_BAR
    ends = [*starts[1:], -(-round(events.end / ticks_per_step) // bar) * bar]
    merged: list[tuple[int, int]] = []
    for start, end, (_, common) in zip(starts, ends, meters, strict=True):
        if common and end > start:
            joins = merged and merged[-1][1] == start and (start - merged[-1][0]) % bar == 0
            merged.append((merged.pop()[0] if joins else start, end))
    return tuple(merged)


def midi_bytes(song: Song) -> bytes:
    """A format 1 MIDI file of `song`: a track per voice, its texts and tempo in the first track, velocity 80.

    The same song gives the same bytes, and `read_midi` gives the same notes back.
    """
    mido = import_mido()
    voices = int(song.notes.voice.max()) + 1 if len(song.notes) else 0
    voices = max(voices, len(song.names), len(song.programs))
    end = max(song.steps, int(song.notes.end.max(initial=0))) * TICKS_PER_STEP
    head = [
        mido.MetaMessage("set_tempo", tempo=round(60e6 / song.tempo)),
        mido.MetaMessage("time_signature", numerator=4, denominator=4),
        *(mido.MetaMessage("text", text=text) for text in song.texts),
    ]
    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    midi.tracks.append(mido.MidiTrack([*head, mido.MetaMessage("end_of_track", time=end)]))
    names = song.names or (CHORALE_VOICES if voices == len(CHORALE_VOICES) else ())
    for voice in range(voices):
        channel = voice % 15
        channel += channel >= DRUMS
        programs = song.programs or PROGRAMS
        messages = [
            mido.MetaMessage("track_name", name=names[voice] if voice < len(names) else f"Voice {voice + 1}"),
            mido.Message("program_change", channel=channel, program=programs[voice % len(programs)]),
        ]
        messages += _note_messages(song.notes.where(song.notes.voice == voice), channel, end)
        midi.tracks.append(mido.MidiTrack(messages))
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def _note_messages(notes: Notes, channel: int, end: int) -> Iterator[Any]:
    """The note messages of one voice and its end-of-track, with delta times in ticks."""
    mido = import_mido()
    tick = 0
    for time, on, pitch in _switches(notes):
        kind, velocity = ("note_on", 80) if on else ("note_off", 0)
        yield mido.Message(kind, channel=channel, note=int(pitch), velocity=velocity, time=int(time) - tick)
        tick = int(time)
    yield mido.MetaMessage("end_of_track", time=end - tick)


def _switches(notes: Notes) -> Int[np.ndarray, "events 3"]:
    """[tick, on, pitch] by time; at the same tick ends come before starts."""
    ones = np.ones(len(notes), np.int64)
    on = np.stack([notes.start * TICKS_PER_STEP, ones, notes.pitch], 1)
    off = np.stack([notes.end * TICKS_PER_STEP, 0 * ones, notes.pitch], 1)
    events = np.concatenate([on, off])
    return events[np.lexsort((events[:, 2], events[:, 1], events[:, 0]))]
