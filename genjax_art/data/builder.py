"""What a shipped data set is: a TFDS builder in a file of its own in this room.

`genjax_art/data/<name>.py` with a subclass of `ShippedBuilder` is all there is to adding one:
`open_source(name)` finds it there. It prepares and reads without TensorFlow if pictures go in as encoded
bytes (`png`) or a path, and anything else as `tfds.features.Tensor(..., encoding="zlib")`.
"""

import importlib
import importlib.util
import io
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8

import genjax_art.data
from genjax_art.data.arrays import DataError
from genjax_art.data.request import Request


@dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """Of a builder that reads the user's folder."""

    folder: Path = field(default_factory=Path)


class ShippedBuilder(tfds.core.GeneratorBasedBuilder):
    """A builder whose feature "image" (pictures) or "x" (a Tensor: anything else) is what models learn.

    "label" (a ClassLabel), where it exists, is the label. Other features that are single numbers are kept as
    ground-truth factors. A subclass sets `name` (that of its file), VERSION, RELEASE_NOTES and these.
    """

    kind: ClassVar[str] = "image"
    low: ClassVar[float] = -1.0  # the range that uint8 levels 0 to 255 stand for, or that floats keep to
    high: ClassVar[float] = 1.0
    seconds: ClassVar[int | None] = None  # how long preparing takes on one core, to tell the user
    needs_folder: ClassVar[bool] = False

    @classmethod
    def configure(cls, request: Request) -> tfds.core.BuilderConfig | None:
        """The config that serves `request`; None where there is only one. Raises DataError if none can."""
        del request
        return None

    def expected_seconds(self) -> int | None:
        """How long preparing this config takes; None where nobody knows."""
        return self.seconds


def find_builder(name: str) -> type[ShippedBuilder] | None:
    """The builder in `genjax_art/data/<name>.py`, or None where there is no such file or no builder in it."""
    module_name = f"{genjax_art.data.__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(module_name) is None:
        return None
    module = importlib.import_module(module_name)
    for value in vars(module).values():
        defined_here = isinstance(value, type) and value.__module__ == module_name
        if defined_here and issubclass(value, ShippedBuilder) and value is not ShippedBuilder:
            return value
    return None


def shipped_names() -> list[str]:
    """The names of all data sets that have their file in this room."""
    names = (module.name for module in pkgutil.iter_modules(genjax_art.data.__path__))
    return sorted(name for name in names if find_builder(name))


def check_folder(request: Request, cls: type[ShippedBuilder]) -> None:
    """Raises DataError where a folder is missing, or given to a set that has none."""
    if not cls.needs_folder:
        if request.folder:
            raise DataError(f"{request.name} reads no folder: leave folder out, or name a set that does")
    elif request.folder is None:
        raise DataError(f"{request.name} needs the folder of your files: pass folder (--data.folder DIR)")
    elif not request.folder.is_dir():
        raise DataError(f"folder {request.folder} does not exist or is no folder: pass the one with your files")


def png(image: UInt8[np.ndarray, "h w c"]) -> io.BytesIO:
    """A picture of 1, 3 or 4 channels as PNG, in the form that TFDS takes without TensorFlow."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "png", compress_level=1)
    buffer.seek(0)
    return buffer
