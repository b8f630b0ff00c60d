"""All notes of a batch of rolls as one table, and what sounds when: the basis of the music metrics."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from genjax_art.music.notes import LOWEST, STEPS_PER_BAR, MusicError


@dataclass(frozen=True, eq=False)
class Clips:
    """`b` clips of `t` steps: the notes of all of them, and `sounding`: [clip, step, pitch row, voice]."""

    clip: Int[np.ndarray, " n"]
    voice: Int[np.ndarray, " n"]
    pitch: Int[np.ndarray, " n"]  # MIDI number
    start: Int[np.ndarray, " n"]  # steps
    length: Int[np.ndarray, " n"]  # steps
    sounding: Bool[np.ndarray, "b t p v"]

    @property
    def count(self) -> int:
        return len(self.sounding)

    @property
    def steps(self) -> int:
        return self.sounding.shape[1]

    @property
    def end(self) -> Int[np.ndarray, " n"]:
        return self.start + self.length

    def per_clip(self, *keys: tuple[np.ndarray, int]) -> Int[np.ndarray, "b *sizes"]:
        """How many notes each clip has of each combination of keys, given as (value per note, size)."""
        index: np.ndarray = self.clip
        shape: tuple[int, ...] = (self.count,)
        for value, size in keys:
            index, shape = index * size + value, (*shape, size)
        return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape)


def clips_of(rolls: UInt8[np.ndarray, "b t p c"]) -> Clips:
    """The clips of a batch of binary rolls of whole bars.

    Raises:
      MusicError: an odd number of planes, or steps that are no whole number of bars.
    """
    if rolls.shape[-1] % 2 or rolls.shape[1] % STEPS_PER_BAR:
        raise MusicError(f"rolls of shape {rolls.shape} need bars of {STEPS_PER_BAR} steps and 2 planes a voice")
    voices = rolls.shape[-1] // 2
    # time last, so that the starts and ends of one pitch in one voice follow each other in memory
    by_time = np.ascontiguousarray(rolls.transpose(0, 3, 2, 1)) > 0
    onset, sounding = by_time[:, :voices], by_time[:, voices:]
    starts = sounding & onset
    starts[..., 1:] |= sounding[..., 1:] & ~sounding[..., :-1]
    starts[..., 0] = sounding[..., 0]
    ends = sounding.copy()
    ends[..., :-1] &= starts[..., 1:] | ~sounding[..., 1:]
    clip, voice, row, start = np.nonzero(starts)
    length = np.nonzero(ends)[3] - start + 1
    return Clips(clip, voice, row + LOWEST, start, length, sounding.transpose(0, 3, 2, 1))


def ratio(part: np.ndarray, whole: np.ndarray) -> Float64[np.ndarray, "*b"]:
    """part / whole, NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)


def entropy(counts: Int[np.ndarray, "b k"]) -> Float64[np.ndarray, " b"]:
    """Shannon entropy in bits of the normalised rows; NaN where a row is empty."""
    p = ratio(counts, counts.sum(1, keepdims=True))
    return np.where(counts.any(1), -np.sum(p * np.log2(p, out=np.zeros_like(p), where=p > 0), 1), np.nan)
