"""The drawn art: its factors, palettes and styles."""

import numpy as np
import pytest
from helpers import examples

from genjax_art.data.art_styles import PALETTES, STYLES, draw
from genjax_art.data.open import open_source
from genjax_art.data.sets.procedural_art import draw_example

pytestmark = pytest.mark.usefixtures("own_data")


def test_art_is_a_function_of_index_and_size() -> None:
    one, factors = draw_example(7, 32)
    same, same_factors = draw_example(7, 32)
    np.testing.assert_array_equal(one, same)
    assert factors == same_factors
    assert (draw_example(7 + len(STYLES), 32)[0] != one).any()


def test_art_at_64_pixels_is_the_same_drawing() -> None:
    for index in range(len(STYLES)):
        small, factors = draw_example(index, 32)
        large, same_factors = draw_example(index, 64)
        assert factors == same_factors
        shrunk = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3), dtype=np.float32)
        assert np.abs(shrunk - small).mean() < 10, factors["label"]  # of 255: only the supersampling differs


def test_art_keeps_the_factors_beside_the_pictures() -> None:
    source = open_source("procedural_art")
    rows = examples(source)
    assert source.spec.classes == tuple(STYLES) and len(STYLES) >= 10
    np.testing.assert_array_equal(np.bincount(rows["label"]), [3] * len(STYLES))
    drawn = {draw_example(i, 32)[0].tobytes(): draw_example(i, 32)[1] for i in range(3 * len(STYLES))}
    for i, x in enumerate(rows["x"]):
        factors = drawn[x.tobytes()]
        assert source.spec.classes[rows["label"][i]] == factors["label"]
        for name in ("palette", "scale", "rotation", "position_x", "position_y"):
            assert rows[name][i] == pytest.approx(factors[name], rel=1e-6)


def test_the_factors_span_their_ranges() -> None:
    factors = [draw_example(i, 4)[1] for i in range(240)]
    for name, low, high in (
        ("scale", 0.7, 1.4),
        ("rotation", -np.pi / 4, np.pi / 4),
        ("position_x", -0.5, 0.5),
        ("position_y", -0.5, 0.5),
    ):
        values = np.array([f[name] for f in factors])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert {f["palette"] for f in factors} == set(range(len(PALETTES)))


def test_every_style_uses_only_the_palette_and_at_least_two_of_it() -> None:
    for style in STYLES:
        x = draw(
            style, 48, palette=3, scale=1.0, rotation=0.3, x=0.1, y=0.0, rng=np.random.default_rng(1), oversampling=1
        )
        colours = {"".join(f"{level:02x}" for level in pixel) for pixel in x.reshape(-1, 3).tolist()}
        assert colours <= set(PALETTES[3]) and len(colours) > 1, style


def test_position_moves_the_drawing() -> None:
    """Moving the origin by whole pixels moves the picture by as many."""
    for style in STYLES:
        still, moved = (
            draw(style, 32, palette=0, scale=1.0, rotation=0.2, x=x, y=-2 * x, rng=np.random.default_rng(5))
            for x in (0.0, 0.25)
        )
        same = (still[8:, :-4] == moved[:-8, 4:]).all(axis=-1)
        assert same.mean() > 0.97, (style, same.mean())  # rounding may turn a sample at an edge


def test_styles_can_be_told_apart_by_shape_alone() -> None:
    """A nearest-centroid rule on grey spectra, which know no colour or place, beats chance by far."""

    def spectrum(index: int) -> np.ndarray:
        grey = draw_example(index, 32)[0].astype(np.float64).mean(-1)
        power = np.abs(np.fft.fft2((grey - grey.mean()) / (grey.std() + 1e-9)))
        return np.log1p(power)

    count = len(STYLES)
    features = np.stack([spectrum(i) for i in range(30 * count)]).reshape(30, count, -1)
    centroids = features[:20].mean(axis=0)
    distances = ((features[20:, :, None] - centroids[None, None]) ** 2).sum(-1)
    accuracy = (distances.argmin(-1) == np.arange(count)).mean()
    assert accuracy > 0.5, accuracy  # chance: 1/12
