"""Held-out examples that are none of those trained on."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from genjax_art.data.contract import Source, pieces
from genjax_art.spec import ArraySpec

MOST = 2**33  # bytes of examples that are read through for copies


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some examples of a source."""

    source: Source
    rows: Int[np.ndarray, " n"]

    @property
    def spec(self) -> ArraySpec:
        return self.source.spec

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        return self.source.take(self.rows[indices])


def without_copies_of(known: Source, held: Source) -> Source:
    """`held` without examples that are, to the last bit, among `known`: a slice of a folder in which files lie twice
    has some. Sets of many gigabytes are not read through.
    """
    each = held.take(np.arange(1))["x"].nbytes
    if each * (len(known) + len(held)) > MOST:
        return held
    seen = set(_digests(known))
    rows = np.asarray([row for row, digest in enumerate(_digests(held)) if digest not in seen], np.int64)
    if len(rows) == len(held):
        return held
    logging.getLogger(__name__).warning(
        "left out %d of %d held-out examples: copies of them were trained on", len(held) - len(rows), len(held)
    )
    return Chosen(held, rows)


def _digests(source: Source) -> Iterator[bytes]:
    for rows in pieces(source):
        for x in rows["x"]:
            yield hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
