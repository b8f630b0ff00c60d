"""Pictures in twelve styles, drawn here with NumPy: each with its style and its ground-truth factors known.

"train" has 1,000 pictures of each style, "test" 100, square and RGB, drawn at 32 px (or at 64, where a larger
size is asked for). "label" is the style (see `art_styles`); the factors are drawn independently of the style
and of one another: "palette" (an index, uniform), "scale" (log-uniform in 0.7 to 1.4), "rotation" (radians,
uniform in -pi/4 to pi/4), "x" and "y" of the origin ("position_x", "position_y": uniform in -0.5 to 0.5; the
picture spans -1 to 1). Picture i is a pure function of (SEED, i), so it is the same on every machine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from genjax_art.data.art_styles import PALETTES, STYLES, draw
from genjax_art.data.contract import Source
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe, png

SEED = 2024
TRAIN_PER_STYLE = 1000
TEST_PER_STYLE = 100


def build(
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """Pictures in twelve styles, drawn here, with their styles as labels and known factors.

    Args:
      split: which pictures: train (12,000), test (1,200), all, or a slice such as train[:10%].
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: 32 32); above 32 they are drawn at
        64.
      channels: 1 grey, 3 RGB, 4 RGBA (default: 3).

    Raises:
      DataError: no such split, or the pictures cannot be prepared.
    """
    recipe = ProceduralArt(64 if max(size or (0,)) > 32 else 32)
    return open_prepared(recipe, split=split, data_dir=data_dir, size=size, channels=channels)


@dataclass(frozen=True)
class ProceduralArt(Recipe):
    """Pictures in twelve styles with known factors."""

    pixels: int  # height and width of the drawings

    name = "procedural_art"
    notes = "Twelve styles, twelve palettes."

    @property
    def variant(self) -> str:
        return f"{self.pixels}px"

    @property
    def seconds(self) -> int:
        return 40 if self.pixels == 32 else 100

    def features(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        factors = ("scale", "rotation", "position_x", "position_y")
        return {
            "image": tfds.features.Image(shape=(self.pixels, self.pixels, 3)),
            "label": tfds.features.ClassLabel(names=list(STYLES)),
            "palette": tfds.features.Scalar(np.int32),
            **{name: tfds.features.Scalar(np.float32) for name in factors},
        }

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        train, test = TRAIN_PER_STYLE * len(STYLES), TEST_PER_STYLE * len(STYLES)
        return {"train": self._examples(range(train)), "test": self._examples(range(train, train + test))}

    def _examples(self, indices: range) -> Examples:
        for index in indices:
            image, factors = draw_example(index, self.pixels)
            yield index, {"image": png(image), **factors}


def draw_example(index: int, pixels: int) -> tuple[UInt8[np.ndarray, "pixels pixels 3"], dict[str, Any]]:
    """Picture `index` and its label and factors. Style after style in turn, so that any range is balanced."""
    rng = np.random.default_rng((SEED, index))
    style = list(STYLES)[index % len(STYLES)]
    palette = int(rng.integers(len(PALETTES)))
    scale = float(np.exp(rng.uniform(np.log(0.7), np.log(1.4))))
    rotation, x, y = (float(t) for t in rng.uniform((-np.pi / 4, -0.5, -0.5), (np.pi / 4, 0.5, 0.5)))
    image = draw(
        style,
        pixels,
        palette=palette,
        scale=scale,
        rotation=rotation,
        x=x,
        y=y,
        rng=rng,
        oversampling=4 if pixels <= 32 else 3,
    )
    factors = {"palette": palette, "scale": scale, "rotation": rotation, "position_x": x, "position_y": y}
    return image, {"label": style, **factors}
