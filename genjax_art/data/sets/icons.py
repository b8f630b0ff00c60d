"""16,700 icons in twelve styles, from thin lines to filled masses: the fonts of the package qtawesome.

They are read from the installed package (pip install 'genjax-art[art]'), which is not imported; see `icon_fonts.py`.
"label" is the style, "icon" the number of the icon's name in `icon_fonts.icon_names`: the same icon exists in five
styles of Phosphor and in two of Remix, which differ in nothing but the line. Ink is white on black, one channel.

Every tenth name or so is held out, in all styles that have it: chosen by a hash of the name, so that no name is on both
sides, whatever else a later version adds. "acorn" and "acorn-outline" go together.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from genjax_art.data.contract import Source
from genjax_art.data.icon_fonts import STYLES, draw_style, fingerprint_of_fonts, fonts_folder, icon_names
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe, png

PIXELS = 64  # of the prepared pictures: smaller ones are reduced from these
HELD_OUT = 10  # one name in so many


def build(
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """Icons in twelve styles, with their styles as labels; needs pip install 'genjax-art[art]'.

    Args:
      split: which icons: train, test (one name in ten, in all styles), all, or a slice such as train[:10%].
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: 32 32); they are drawn at 64.
      channels: 1 grey, 3 RGB, 4 RGBA (default: 1).

    Raises:
      DataError: the package is missing, no such split, or the icons cannot be prepared.
    """
    recipe = Icons(fonts_folder())
    return open_prepared(recipe, split=split, data_dir=data_dir, size=size or (32, 32), channels=channels)


@dataclass(frozen=True)
class Icons(Recipe):
    """The icons of the fonts in a folder."""

    folder: Path

    name = "icons"
    notes = "Twelve styles; one name in ten held out."
    homepage = "https://github.com/spyder-ide/qtawesome"
    seconds = 30

    @cached_property
    def variant(self) -> str:
        return fingerprint_of_fonts(self.folder)

    def features(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        return {
            "image": tfds.features.Image(shape=(PIXELS, PIXELS, 1)),
            "label": tfds.features.ClassLabel(names=list(STYLES)),
            "icon": tfds.features.ClassLabel(names=list(icon_names(self.folder))),
        }

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        return {"train": self._examples(held_out=False), "test": self._examples(held_out=True)}

    def _examples(self, *, held_out: bool) -> Examples:
        for style in STYLES:
            for name, image in draw_style(self.folder, style, PIXELS):
                if is_held_out(name) == held_out:
                    yield f"{style}/{name}", {"image": png(image), "label": style, "icon": name}


def is_held_out(name: str) -> bool:
    """Whether the icon of this name is in "test", in whatever style."""
    digest = hashlib.sha256(name.removesuffix("-outline").encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT == 0
