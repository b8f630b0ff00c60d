"""Standard MIDI files as events: what players open is read, whatever odd things surround the notes.

RIFF around the file (.rmi) and bytes before it or after the last track are passed over, as are chunks of unknown
kinds; tracks are those that are there, not those that the header counts, and a length that leads to no chunk is not
believed. Metas of odd content or length are for the caller to use or to drop. Damaged are a file that ends within an
event or before its track does, and bytes that no status explains.
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from genjax_art.music.notes import MusicError

# (tick, status, data): status is 0x80 ... 0xEF with two data bytes (the second one 0 where there is only one), or 0xFF
# with the kind of the meta before its content. Other messages say nothing of the music.
Event: TypeAlias = tuple[int, int, bytes]

META = 0xFF
END_OF_TRACK = 0x2F
LEADING = 1024  # bytes that may precede the header: MacBinary has 128
LONGEST_NUMBER = 8  # bytes; the standard allows 4


@dataclass(frozen=True)
class Smf:
    """The tracks of a file, ticks counted from the beginning of each; `kind` is 0, 1 or 2."""

    kind: int
    ticks_per_beat: int
    tracks: list[list[Event]]


class _Ended(Exception):
    """The data end within an event."""


def parse_smf(content: bytes, name: str) -> Smf:
    """The events of a MIDI file.

    Raises:
      MusicError: no MIDI file, a damaged one, or one that does not count its time in ticks per quarter note.
    """
    content = _unwrapped(content)
    start = content.find(b"MThd", 0, LEADING)
    if start < 0:
        raise MusicError(f"{name} is not a MIDI file (it does not begin with 'MThd')")
    if len(content) < start + 14:
        raise MusicError(f"{name} is a damaged MIDI file: its header is incomplete")
    length, kind, _, division = struct.unpack(">LHHh", content[start + 4 : start + 14])
    if division <= 0:
        raise MusicError(f"{name} does not count its time in ticks per quarter note; save it with musical time")
    at = start + 8 + length
    if content[at : at + 4] != b"MTrk":  # a chunk of another kind, or a length that is wrong
        at = start + 14 if not _is_chunk(content, at) else at
    tracks = []
    for begin, end, whole in _tracks(content, at):
        try:
            tracks.append(_events(content, begin, end, whole))
        except _Ended:
            raise MusicError(f"{name} is a damaged MIDI file: it ends too early") from None
        except ValueError as error:
            raise MusicError(f"{name} is a damaged MIDI file: {error}") from None
    return Smf(kind if kind in (0, 2) else 1, division, tracks)


def _unwrapped(content: bytes) -> bytes:
    """The file within a RIFF of kind RMID; other content as it is."""
    at = 12
    if content[:4] != b"RIFF" or content[8:12] != b"RMID":
        return content
    while at + 8 <= len(content):
        (length,) = struct.unpack("<L", content[at + 4 : at + 8])
        if content[at : at + 4] == b"data":
            return content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return content


def _is_chunk(content: bytes, at: int) -> bool:
    """Whether a chunk may begin there: four letters, or the end of the content."""
    tag = content[at : at + 4]
    return at == len(content) or (len(tag) == 4 and all(32 <= byte < 127 for byte in tag))


def _tracks(content: bytes, at: int) -> list[tuple[int, int, bool]]:
    """(begin, end, whether that is the end the file says) of the bytes of each track."""
    found: list[tuple[int, int, bool]] = []
    while (at := at if content[at : at + 4] == b"MTrk" else _next_track(content, at)) >= 0:
        if at + 8 > len(content):
            break
        (length,) = struct.unpack(">L", content[at + 4 : at + 8])
        begin, end = at + 8, at + 8 + length
        whole = end <= len(content) and (_is_chunk(content, end) or _has_end(content, begin, end))
        if not whole:
            after = content.find(b"MTrk", begin)
            end = after if after >= 0 else len(content)
        found.append((begin, end, whole))
        at = end
    return found


def _has_end(content: bytes, begin: int, end: int) -> bool:
    return content[max(begin, end - 3) : end] == bytes([META, END_OF_TRACK, 0])


def _next_track(content: bytes, at: int) -> int:
    """Where the next track begins after chunks of other kinds or bytes of none; -1 without one."""
    while _is_chunk(content, at) and at + 8 <= len(content) and content[at : at + 4] != b"MTrk":
        (length,) = struct.unpack(">L", content[at + 4 : at + 8])
        if at + 8 + length > len(content):
            break
        at += 8 + length
    return content.find(b"MTrk", at)


def _events(content: bytes, at: int, end: int, whole: bool) -> list[Event]:
    """The events of the track between two places; one that is not `whole` must say its end itself.

    What follows the end of the track within its chunk is read as well, as long as it makes sense.
    """
    events: list[Event] = []
    tick, running, ended = 0, 0, False
    while at < end:
        try:
            delta, at = _number(content, at, end)
            event, at, running = _event(content, at, end, tick + delta, running)
        except (_Ended, ValueError):
            if ended:
                break
            raise
        tick += delta
        if event is None:
            continue
        if event[1] == META and event[2][0] == END_OF_TRACK:
            if not whole:
                return [*events, event]
            ended, running = True, 0
        events.append(event)
    if not whole and not ended:
        raise _Ended
    return events


def _event(content: bytes, at: int, end: int, tick: int, running: int) -> tuple[Event | None, int, int]:
    """The event at a place (None: it says nothing of the music), the place after it, and the running status."""
    if at >= end:
        raise _Ended
    status = content[at]
    if status == META:
        length, begin = _number(content, at + 2, end)
        if begin + length > end:
            raise _Ended
        return (tick, META, content[at + 1 : at + 2] + content[begin : begin + length]), begin + length, running
    if status in (0xF0, 0xF7):
        length, begin = _number(content, at + 1, end)
        if begin + length > end:
            raise _Ended
        return None, begin + length, running
    if status > 0xF0:  # they have no place in a file, but some programs record them
        return None, at + 1 + {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(status, 0), running
    if status < 0x80:  # metas and system messages do not end a running status for most players
        if not running:
            raise ValueError("running status without last_status")
        status, at = running, at - 1
    size = 1 if 0xC0 <= status < 0xE0 else 2
    data = content[at + 1 : min(at + 1 + size, end)]
    if len(data) < size:
        raise _Ended
    return (tick, status, bytes(min(byte, 127) for byte in data).ljust(2, b"\0")), at + 1 + size, status


def _number(content: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    for place in range(at, min(at + LONGEST_NUMBER, end)):
        value = value << 7 | content[place] & 0x7F
        if content[place] < 0x80:
            return value, place + 1
    if at + LONGEST_NUMBER <= end:
        raise ValueError(f"a number of more than {LONGEST_NUMBER} bytes")
    raise _Ended
