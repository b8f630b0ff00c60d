"""Pictures in twelve styles, drawn here with NumPy: each with its style and its ground-truth factors known.

"train" has 1,000 pictures of each style, "test" 100, square and RGB, drawn at 32 px (or at 64, where a larger
size is asked for). "label" is the style (see `art_styles`); the factors are drawn independently of the style
and of one another: "palette" (an index, uniform), "scale" (log-uniform in 0.7 to 1.4), "rotation" (radians,
uniform in -pi/4 to pi/4), "x" and "y" of the origin ("position_x", "position_y": uniform in -0.5 to 0.5; the
picture spans -1 to 1). Picture i is a pure function of (SEED, i), so it is the same on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8

from genjax_art.data.art_styles import PALETTES, STYLES, draw
from genjax_art.data.builder import ShippedBuilder, png
from genjax_art.data.request import Request

SEED = 2024
TRAIN_PER_STYLE = 1000
TEST_PER_STYLE = 100


@dataclass(eq=False)
class ArtConfig(tfds.core.BuilderConfig):
    """`pixels`: height and width of the drawings."""

    pixels: int = 32


class ProceduralArt(ShippedBuilder):
    """Pictures in twelve styles with known factors."""

    name = "procedural_art"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Twelve styles, twelve palettes."}
    BUILDER_CONFIGS: ClassVar[list[ArtConfig]] = [ArtConfig(name=f"{p}px", pixels=p) for p in (32, 64)]
    seconds = 40

    @classmethod
    def configure(cls, request: Request) -> ArtConfig:
        return cls.BUILDER_CONFIGS[max(request.size or (0,)) > 32]

    def expected_seconds(self) -> int:
        return self.seconds if self.builder_config.pixels == 32 else 100

    def _info(self) -> tfds.core.DatasetInfo:
        pixels = self.builder_config.pixels
        factors = ("scale", "rotation", "position_x", "position_y")
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(pixels, pixels, 3)),
                    "label": tfds.features.ClassLabel(names=list(STYLES)),
                    "palette": tfds.features.Scalar(np.int32),
                    **{name: tfds.features.Scalar(np.float32) for name in factors},
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        train, test = TRAIN_PER_STYLE * len(STYLES), TEST_PER_STYLE * len(STYLES)
        return {
            "train": self._generate_examples(range(train)),
            "test": self._generate_examples(range(train, train + test)),
        }

    def _generate_examples(self, indices: range) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in indices:
            image, factors = draw_example(index, self.builder_config.pixels)
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
