"""Pictures of every mode and size to one size and number of channels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_art.pictures import fit_picture, to_mode


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (9, 7)), ("RGB", (9, 7, 3)), ("RGBA", (9, 7, 4)), ("LA", (9, 7, 4)), ("P", (9, 7, 3)), ("1", (9, 7))],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_mode_becomes_the_channels_asked_for(mode: str, shape: tuple[int, ...], channels: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    x = fit_picture(Image.fromarray(levels).convert(mode), (5, 6), channels)
    assert x.shape == (5, 6, channels) and x.dtype == np.uint8


def test_dropped_transparency_is_laid_on_white() -> None:
    x = np.zeros((4, 4, 4), np.uint8)
    x[:2] = (200, 0, 0, 255)
    x[2:] = (0, 0, 0, 128)
    rgb = fit_picture(Image.fromarray(x), (4, 4), 3)
    assert rgb[0, 0].tolist() == [200, 0, 0]
    np.testing.assert_allclose(rgb[3, 3].astype(int), 255 * (1 - 128 / 255), atol=1)
    np.testing.assert_array_equal(fit_picture(Image.fromarray(x), (4, 4), 4), x)


def test_transparent_palettes_are_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 3), 0)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(tmp_path / "x.gif", transparency=0)
    with Image.open(tmp_path / "x.gif") as gif:
        assert (fit_picture(gif, (3, 3), 3) == 255).all()


def test_a_transparent_level_of_sixteen_bits_is_laid_on_white() -> None:
    picture = Image.fromarray(np.array([[1000, 257 * 7]], np.uint16))
    picture.info["transparency"] = 1000  # as Pillow reads it from a PNG
    assert fit_picture(picture, (1, 2), 1).tolist() == [[[255], [7]]]
    assert fit_picture(picture, (1, 2), 4)[..., 3].tolist() == [[0, 255]]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.array([[0, 32768], [65535, 257]], np.uint16)
    assert np.asarray(to_mode(Image.fromarray(levels), 1)).tolist() == [[0, 128], [255, 1]]


def test_scaling_crops_the_centre_and_keeps_proportions() -> None:
    x = np.zeros((60, 100), np.uint8)
    x[:, 20:80] = 255  # the central square, white
    assert (fit_picture(Image.fromarray(x), (30, 30), 1)[1:-1, 1:-1] >= 254).all()
    wide = fit_picture(Image.fromarray(x.T), (20, 40), 1)  # of 100x60, rows 35 to 65 remain
    assert wide.shape == (20, 40, 1) and (wide >= 254).all()


def test_scaling_down_is_antialiased() -> None:
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    inside = fit_picture(Image.fromarray(checks), (16, 16), 1)[2:-2, 2:-2]
    np.testing.assert_allclose(inside.astype(int), 127.5, atol=3)
