"""What a set is that we make ourselves: how its examples come about, and where they are kept.

A set's file in `sets/` has a recipe and a `build` that opens it: `open_prepared(MySet(), split=split, ...)`. Pictures
go in as encoded bytes (`png`) or a path, anything else as `tfds.features.Tensor(..., encoding="zlib")`: so they are
prepared and read without TensorFlow. TensorFlow Datasets is imported in `features`, not at the top of a file: that
takes 0.7 s, and once a set is in the cache it is not needed.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

Examples = Iterable[tuple[int | str, dict[str, Any]]]  # (a key of its own, feature by name)


class Recipe:
    """A set whose feature "image" (pictures) or "x" (a Tensor: anything else) is what models learn.

    "label" (a ClassLabel), where it exists, is the label. Other features that are single numbers are kept as
    ground-truth factors. A set that can be prepared in several ways is a dataclass of what these differ in.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1.0.0"  # another one is prepared anew
    notes: ClassVar[str]  # what this version has
    homepage: ClassVar[str | None] = None
    kind: ClassVar[str] = "image"
    low: ClassVar[float] = -1.0  # the range that uint8 levels 0 to 255 stand for, or that floats keep to
    high: ClassVar[float] = 1.0

    @property
    def variant(self) -> str:
        """The name of this way to prepare the set; empty where there is only one."""
        return ""

    @property
    def seconds(self) -> int | None:
        """How long preparing takes on one core, to tell the user; None where nobody knows."""
        return None

    def features(self) -> dict[str, Any]:
        """The features (of TFDS) of an example."""
        raise NotImplementedError

    def splits(self, metadata: dict[str, Any]) -> Mapping[str, Examples]:
        """The examples of each split; what is put into `metadata` is kept beside them. Raises DataError."""
        raise NotImplementedError


def png(image: UInt8[np.ndarray, "h w c"]) -> io.BytesIO:
    """A picture of 1, 3 or 4 channels as PNG, in the form that TFDS takes without TensorFlow."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "png", compress_level=1)
    buffer.seek(0)
    return buffer
