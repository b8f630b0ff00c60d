"""What a piano roll means: notes on a grid of sixteenths, the roll tensor, the tokens of one voice.

Music is 4/4 with 16 steps a bar. Three forms of it convert into each other without loss, on the grid:

* `Notes`: parallel arrays of start, length (in steps), MIDI pitch and voice;
* a roll, [steps, 60 pitches from MIDI 30, 2 * voices] of 0 and 1. The channels are the onset planes of all
  voices, then their sustain planes. Sustain is 1 in every step in which the note sounds, the first one too,
  so the sustain planes alone are the ordinary piano roll; the onset planes keep repeated notes apart;
* tokens, [steps, voices]: 0..59 starts that pitch, 60 (`HOLD`) holds the note, 61 (`REST`) is silence; a voice has
  one note at a time.

Both `data/` and `media/` need this; it imports nothing of theirs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec

STEPS_PER_BEAT = 4
STEPS_PER_BAR = 16
LOWEST = 30  # MIDI pitch of the roll's first row
PITCHES = 60
HOLD = 60
REST = 61
TOKENS = 62


class MusicError(UsageError):
    """Music that cannot be read or does not fit the grid. The message is one line."""


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes as parallel arrays, times in sixteenth steps; `pitch` is a MIDI number, `voice` counts from 0."""

    start: Int[np.ndarray, " n"]
    length: Int[np.ndarray, " n"]
    pitch: Int[np.ndarray, " n"]
    voice: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> Int[np.ndarray, " n"]:
        return self.start + self.length

    @property
    def rows(self) -> Int[np.ndarray, "n 4"]:
        """[start, length, pitch, voice] per note, sorted by voice, start, pitch: equal music, equal rows."""
        rows = np.stack([self.start, self.length, self.pitch, self.voice], 1)
        return rows[np.lexsort((self.length, self.pitch, self.start, self.voice))]

    def where(self, mask: np.ndarray) -> "Notes":
        """The notes that `mask` (or an index array) picks."""
        return Notes(self.start[mask], self.length[mask], self.pitch[mask], self.voice[mask])


def notes_from_rows(rows: object) -> Notes:
    """Notes from [start, length, pitch, voice] rows."""
    array = np.asarray(rows, np.int64).reshape(-1, 4)
    return Notes(*(array[:, i] for i in range(4)))


def is_bars(shape: tuple[int, ...]) -> bool:
    """Whether arrays of that shape can be rolls of whole bars."""
    return len(shape) == 3 and shape[0] % STEPS_PER_BAR == 0 and shape[1] == PITCHES and shape[2] % 2 == 0


def roll_spec(bars: int, voices: int) -> ArraySpec:
    """The spec of rolls of so many bars and voices, scaled to [-1, 1]."""
    return ArraySpec((bars * STEPS_PER_BAR, PITCHES, 2 * voices), -1.0, 1.0, "roll")


def window(notes: Notes, start: int, steps: int) -> Notes:
    """What sounds in the `steps` from `start` on, cut at both ends, with times from 0."""
    low = np.maximum(notes.start, start)
    high = np.minimum(notes.end, start + steps)
    inside = high > low
    return Notes((low - start)[inside], (high - low)[inside], notes.pitch[inside], notes.voice[inside])


def roll_from_notes(notes: Notes, steps: int, voices: int) -> UInt8[np.ndarray, "steps 60 planes"]:
    """The roll of `notes`. A note that starts while its voice sounds the same pitch ends the older one.

    Raises:
      MusicError: a pitch outside 30..89, a note outside `steps`, a voice outside `voices`.
    """
    _check_fit(notes, steps, voices)
    onset = np.zeros((steps, PITCHES, voices), np.uint8)
    edges = np.zeros((steps + 1, PITCHES, voices), np.int32)
    row = notes.pitch - LOWEST
    onset[notes.start, row, notes.voice] = 1
    np.add.at(edges, (notes.start, row, notes.voice), 1)
    np.add.at(edges, (notes.end, row, notes.voice), -1)
    sustain = (np.cumsum(edges[:-1], 0) > 0).astype(np.uint8)
    return np.concatenate([onset, sustain], -1)


def _check_fit(notes: Notes, steps: int, voices: int) -> None:
    if not len(notes):
        return
    if notes.pitch.min() < LOWEST or notes.pitch.max() >= LOWEST + PITCHES:
        raise MusicError(
            f"pitches {notes.pitch.min()}..{notes.pitch.max()} leave the roll's range "
            f"{LOWEST}..{LOWEST + PITCHES - 1}; drop or transpose them"
        )
    if notes.start.min() < 0 or notes.length.min() < 1 or notes.end.max() > steps:
        raise MusicError(f"notes leave the {steps} steps of the roll; cut them with window()")
    if notes.voice.min() < 0 or notes.voice.max() >= voices:
        raise MusicError(f"voice {notes.voice.max()} is not among the {voices} voices of the roll")


def notes_from_roll(roll: UInt8[np.ndarray, "steps 60 planes"]) -> Notes:
    """The notes of a binary roll; onset without sustain is no note, sustain out of nothing starts one."""
    onset, sustain = _planes(roll.transpose(2, 1, 0))
    sounding = sustain > 0
    starts = sounding & ((onset > 0) | ~_shift(sounding, 1))
    ends = sounding & (_shift(starts, -1) | ~_shift(sounding, -1))
    # Along time, starts and ends of one pitch in one voice alternate, so the two lists pair up.
    voice, pitch, start = np.nonzero(starts)
    last = np.nonzero(ends)[2]
    return Notes(start, last - start + 1, pitch + LOWEST, voice)


def _planes(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Onset and sustain of a roll whose planes come first."""
    voices, odd = divmod(len(roll), 2)
    if odd:
        raise MusicError(f"a roll has onset and sustain planes, an even number; this one has {len(roll)}")
    return roll[:voices], roll[voices:]


def _shift(x: np.ndarray, by: int) -> np.ndarray:
    """`x` moved along the last axis by one step (+1 later, -1 earlier), False moving in."""
    moved = np.zeros_like(x)
    if by > 0:
        moved[..., 1:] = x[..., :-1]
    else:
        moved[..., :-1] = x[..., 1:]
    return moved


def tokens_from_roll(roll: UInt8[np.ndarray, "steps 60 planes"]) -> Int[np.ndarray, "steps voices"]:
    """The tokens of each voice; where a voice has several notes at once, of the highest."""
    onset, sustain = _planes(roll.transpose(2, 0, 1))
    sounding = sustain.any(2)
    top = PITCHES - 1 - np.argmax(sustain[:, :, ::-1], 2)
    starts = np.take_along_axis(onset, top[..., None], 2)[..., 0] > 0
    before = np.concatenate([np.full_like(top[:, :1], -1), np.where(sounding, top, -1)[:, :-1]], 1)
    tokens = np.where(starts | (top != before), top, HOLD)
    return np.where(sounding, tokens, REST).T.astype(np.int32)


def roll_from_tokens(tokens: Int[np.ndarray, "steps voices"]) -> UInt8[np.ndarray, "steps 60 planes"]:
    """The roll of one-note-at-a-time tokens; a hold with nothing to hold is a rest.

    Raises:
      MusicError: a token outside 0..61.
    """
    if tokens.size and (tokens.min() < 0 or tokens.max() >= TOKENS):
        raise MusicError(f"tokens {tokens.min()}..{tokens.max()} leave 0..{TOKENS - 1} (60 pitches, hold, rest)")
    steps, voices = tokens.shape
    spoken = np.where(tokens == HOLD, -1, np.arange(steps)[:, None])  # last step that was not a hold
    last = np.maximum.accumulate(spoken, 0)
    pitch = np.where(last < 0, REST, np.take_along_axis(tokens, np.maximum(last, 0), 0))
    roll = np.zeros((steps, PITCHES, 2, voices), np.uint8)
    step, voice = np.nonzero(tokens < PITCHES)
    roll[step, tokens[step, voice], 0, voice] = 1
    step, voice = np.nonzero(pitch < PITCHES)
    roll[step, pitch[step, voice], 1, voice] = 1
    return roll.reshape(steps, PITCHES, 2 * voices)


def decode_roll(
    x: Float[np.ndarray, "*b steps 60 planes"], threshold: float = 0.0
) -> UInt8[np.ndarray, "*b steps 60 planes"]:
    """A binary roll from a network's numbers (logits, or values in [-1, 1]).

    A voice sounds where its sustain plane is above `threshold`, at its strongest pitch only.
    A note starts where the onset plane is above the threshold too, or where that pitch was silent before.
    Numbers that are not finite count as silence.
    """
    voices = x.shape[-1] // 2
    onset, sustain = x[..., :voices] > threshold, x[..., voices:]
    sounding = sustain > threshold
    best = np.argmax(np.where(np.isnan(sustain), -np.inf, sustain), -2)
    sounding &= np.arange(PITCHES)[:, None] == best[..., None, :]
    before = np.zeros_like(sounding)
    before[..., 1:, :, :] = sounding[..., :-1, :, :]
    return np.concatenate([sounding & (onset | ~before), sounding], -1).astype(np.uint8)


def binary_rolls(x: Float[np.ndarray, "*n t p c"], spec: ArraySpec) -> UInt8[np.ndarray, "*n t p c"]:
    """Rolls as they are written to files."""
    return decode_roll(x, (spec.low + spec.high) / 2)
