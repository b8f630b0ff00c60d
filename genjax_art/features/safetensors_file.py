"""A .safetensors file as arrays (github.com/huggingface/safetensors, "Format"): a header in JSON, then the numbers."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.features.foreign_file import Refused, are_counts, read_foreign, word

HEADER = 2**22  # bytes of a header
DTYPES: Mapping[str, Any] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name, as views of what was read.

    Raises:
      RunError: no such file, one that is too large or damaged, or numbers of another kind.
    """
    return read_foreign(path, _read)


def _read(data: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER, len(data) - 8):
        raise Refused("is no .safetensors file, or cut off: its header does not end")
    header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise Refused("has no table of tensors")
    return _tensors(header, memoryview(data)[8 + length :])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise Refused("has a name twice in its header")
    return found


def _tensors(header: dict[str, Any], numbers: memoryview) -> dict[str, np.ndarray]:
    header.pop("__metadata__", None)
    places = {name: _place(name, told) for name, told in header.items()}
    end = 0
    for name, (start, stop, _, _) in sorted(places.items(), key=lambda item: item[1][:2]):
        if start != end:
            raise Refused(f"has {'a gap before' if start > end else 'numbers of another tensor in'} {word(name)}")
        end = stop
    if end != len(numbers):
        raise Refused(f"is cut off or too long: its tensors end at {end} of {len(numbers)} bytes")
    return {
        name: np.frombuffer(numbers[start:stop], dtype).reshape(shape)
        for name, (start, stop, dtype, shape) in places.items()
    }


def _place(name: str, told: Any) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """Start and stop in bytes, dtype and shape of a tensor."""
    if not isinstance(told, dict):
        raise Refused(f"says nothing of {word(name)}")
    found: list[Any] = [told.get(key) for key in ("dtype", "shape", "data_offsets")]
    dtype, shape, offsets = found
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Refused(f"has numbers {word(dtype)} in {word(name)}; known: {', '.join(DTYPES)}")
    if not are_counts(shape) or not are_counts(offsets) or len(offsets) != 2 or len(shape) > 8:
        raise Refused(f"has a tensor {word(name)} of a size that cannot be understood")
    start, stop = offsets
    if stop - start != prod(shape) * DTYPES[dtype].itemsize:
        raise Refused(f"has {stop - start} bytes for {word(name)}, of shape {word(shape)} in {dtype}")
    return start, stop, DTYPES[dtype], tuple(shape)
