"""Standard MIDI files to notes on the grid of sixteenths, and back, in deterministic bytes.

The reader takes what files in the wild hold (any number of tracks, formats 0, 1 and 2, tempo changes, note-
ons of velocity 0, notes that never end or are ended by a controller, a pickup before the first whole bar, an end of
track long after the last note) and reports what it had to move, end or leave out. See `smf.py` for what is a MIDI file.
"""

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int

from genjax_art.files import printable
from genjax_art.music.notes import STEPS_PER_BAR, STEPS_PER_BEAT, MusicError, Notes, notes_from_rows
from genjax_art.music.smf import META, Event, parse_smf

MAX_BYTES = 2**20  # some two seconds of reading; a whole symphony has half of that
MAX_STEPS = 2**16  # 4,096 bars; a single wrong delta time can ask for a million
TICKS_PER_STEP = 120
TICKS_PER_BEAT = TICKS_PER_STEP * STEPS_PER_BEAT
DRUMS = 9  # the General MIDI percussion channel, counted from 0
PROGRAMS = (48, 48, 48, 48)  # string ensemble, where a song names none
SILENCING = (120, 123, 124, 125, 126, 127)  # controllers that end the notes of their channel
CHORALE_VOICES = ("Soprano", "Alto", "Tenor", "Bass")

_Span: TypeAlias = tuple[tuple[int, int], int, int, int]  # (track, channel), start and end tick, pitch


@dataclass(frozen=True)
class Song:
    """Music with the other contents of a MIDI file.

    `sections` are [start, end) steps of 4/4 time, or of another meter of that length (2/2, 8/8, ...), from a downbeat
    on. The last one ends with a whole bar. `pickup` counts the steps before the first one where they are an incomplete
    bar that leads into it; else it is 0. `tempo` (the first one) counts quarter notes per minute.
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
    pickup: int = 0
    moved: int = 0
    unended: int = 0
    drums: int = 0


def read_midi(file: Path | str | bytes) -> Song:
    """The notes of a MIDI file (a path, or its bytes), rounded to sixteenths; a voice is a track and channel.

    A note keeps at least one step. Notes without an end last until their pitch starts again, a controller silences
    their channel, or the track ends.

    Raises:
      MusicError: no MIDI file, damaged, over 1 MB or 4,096 bars, without notes, drums only, or nowhere in
      4/4.
    """
    name = "the MIDI data" if isinstance(file, bytes) else printable(file)
    midi = parse_smf(_content(file, name), name)
    events = _Events(limit=MAX_STEPS * midi.ticks_per_beat // STEPS_PER_BEAT)
    offset = 0
    for number, track in enumerate(midi.tracks):
        end = _read_track(events, number, track, offset)
        if midi.kind == 2:  # independent patterns: one after another, each from a new bar
            bar = 4 * midi.ticks_per_beat
            offset = -(-end // bar) * bar
        events.end = max(events.end, end)
    if midi.kind != 2:
        events.silence()
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
    silences: dict[int, list[int]] = field(default_factory=dict)  # ticks by channel
    unended: int = 0
    end: int = 0
    limit: int = 0  # a track that ends later than this ends with its last note

    def add(self, voice: tuple[int, int], pitch: int, note: _Running, tick: int) -> None:
        self.spans.append((voice, note.start, tick if note.end is None else note.end, pitch))

    def silence(self) -> None:
        """Ends notes where another track silences their channel."""
        ticks = {channel: sorted(found) for channel, found in self.silences.items()}
        for i, (key, start, end, pitch) in enumerate(self.spans):
            found = ticks.get(key[1], [])
            after = bisect_right(found, start)
            if after < len(found) and found[after] < end:
                self.spans[i] = (key, start, found[after], pitch)


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


def import_mido() -> Any:
    """The mido module, which writes; or a `MusicError` that names the package to install."""
    try:
        import mido
    except ImportError:
        raise MusicError('writing MIDI needs the mido package; install it with: pip install -e ".[music]"') from None
    return mido


def _read_track(events: _Events, number: int, track: Sequence[Event], offset: int) -> int:
    """Add the contents of one track, from tick `offset` on; returns the tick of its end."""
    running: list[dict[int, _Running]] = [{} for _ in range(16)]  # by channel and pitch
    tick = last = offset
    for time, status, data in track:
        tick = offset + time
        kind, channel = status & 0xF0, status & 0x0F
        if status == META:
            _read_meta(events, number, tick, data[0], data[1:])
        elif kind in (0x80, 0x90):
            last = tick
            _switch(events, (number, channel), running[channel], data[0], tick, on=kind == 0x90 and data[1] > 0)
        elif kind == 0xB0 and data[0] in SILENCING:
            events.silences.setdefault(channel, []).append(tick)
            for pitch, note in running[channel].items():
                note.end = tick
                events.add((number, channel), pitch, note, tick)
            running[channel].clear()
        elif kind == 0xC0:
            events.programs.setdefault((number, channel), data[0])
    end = tick if tick <= events.limit else last
    for channel, notes in enumerate(running):
        for pitch, note in notes.items():
            events.unended += note.owed + 1
            events.add((number, channel), pitch, note, end)
    return end


def _switch(
    events: _Events, voice: tuple[int, int], running: dict[int, _Running], pitch: int, tick: int, *, on: bool
) -> None:
    """A note-on or a note-off."""
    older = running.get(pitch)
    if on:
        if older:
            events.add(voice, pitch, older, tick)
        running[pitch] = _Running(tick, older.owed + 1 if older else 0)
    elif older:
        older.end = tick
        if older.owed:
            older.owed -= 1
        else:
            events.add(voice, pitch, running.pop(pitch), tick)


def _read_meta(events: _Events, number: int, tick: int, kind: int, content: bytes) -> None:
    """What a meta says of the music; one of odd length or content is ignored."""
    if kind == 0x58 and len(content) >= 2 and content[0] and content[1] < 8:
        events.meters.append((tick, content[0] == 2 ** content[1]))  # 4/4, 2/2, 8/8: all of one length
    elif kind == 0x51 and len(content) >= 3 and any(content[:3]):
        events.tempos.append((tick, int.from_bytes(content[:3], "big")))
    elif kind == 0x03:
        events.names[number] = _text(content)
    elif kind == 0x01:
        events.texts.append(_text(content))


def _text(content: bytes) -> str:
    """Most texts are UTF-8; some are Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeError:
        return content.decode("latin-1")


def _song(events: _Events, ticks_per_step: float, name: str) -> Song:
    """The song of the collected events."""
    spans = [s for s in events.spans if s[0][1] != DRUMS]
    if not spans:
        raise MusicError(
            f"{name} has only drums; notes of pitch are needed" if events.spans else f"{name} has no notes"
        )
    if max(events.end, *(end for _, _, end, _ in spans)) > events.limit:
        raise MusicError(f"{name} is longer than {MAX_STEPS // STEPS_PER_BAR} bars; split it")
    sections, pickup = _sections(events, ticks_per_step)
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
        tempo=60e6 / min(events.tempos)[1] if events.tempos else 120.0,
        programs=tuple(events.programs.get(key, 0) for key in keys),
        names=tuple(events.names.get(track, "") for track, _ in keys),
        texts=tuple(events.texts),
        sections=sections,
        pickup=pickup,
        moved=int(moved.sum()),
        unended=events.unended,
        drums=len(events.spans) - len(spans),
    )


def _sections(events: _Events, ticks_per_step: float) -> tuple[tuple[tuple[int, int], ...], int]:
    """[start, end) steps of 4/4 time, which also holds before the first time signature, and the steps of a pickup."""
    meters = sorted(events.meters, key=lambda meter: meter[0])
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0, True))
    bar, last = STEPS_PER_BAR, round(events.end / ticks_per_step)
    starts = [min(round(tick / ticks_per_step), last) for tick, _ in meters]
    merged: list[tuple[int, int]] = []
    for start, end, (_, common) in zip(starts, [*starts[1:], last], meters, strict=True):
        if common and end > start:
            joins = merged and merged[-1][1] == start and (start - merged[-1][0]) % bar == 0
            merged.append((merged.pop()[0] if joins else start, end))
    if merged and merged[-1][1] == last:  # the last bar may be cut short, as after a pickup
        start, _ = merged[-1]
        merged[-1] = (start, start - (start - last) // bar * bar)
    if len(merged) > 1 and merged[0][0] == 0 and merged[0][1] == merged[1][0] < bar:
        del merged[0]  # too short for a bar: a pickup in the same meter
    pickup = merged[0][0] if merged and merged[0][0] < bar else 0
    return tuple(merged), pickup


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
        *(mido.MetaMessage("text", text=printable(text)) for text in song.texts),
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
