"""Scattering coefficients: against filters written out, and that they see what a distance of pixels does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.data.contract import array_source
from genjax_art.data.open import open_source
from genjax_art.errors import UsageError
from genjax_art.features.extractor import build_extractor
from genjax_art.features.scattering import (
    DIRECTIONS,
    modulus,
    of_clips,
    oriented,
    reduced,
    scales,
    scattering,
)
from genjax_art.metrics.kernels import kid
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein

Y, X = np.mgrid[:16, :16].astype(np.float32)


def wave(angle, phase=0.0):
    """A plane wave of 4 pixels' length."""
    return np.sin(np.pi / 2 * (X * np.cos(angle) + Y * np.sin(angle)) + phase)[None, ..., None].astype(np.float32)


def test_filters_have_mean_0_and_length_1():
    filters = oriented()
    assert filters.shape == (7, 7, 1, 2 * DIRECTIONS)
    np.testing.assert_allclose(filters.sum((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose((filters**2).sum((0, 1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_a_stroke_is_found_by_the_filter_of_its_direction_whatever_its_phase(direction):
    angle = np.pi * direction / DIRECTIONS
    found = [np.asarray(modulus(jnp.asarray(wave(angle, phase)), oriented())) for phase in (0.0, 1.0)]
    assert found[0].mean((0, 1, 2)).argmax() == direction
    inside = [x[0, 4:12, 4:12, direction] for x in found]
    np.testing.assert_allclose(*inside, rtol=0.05)
    y, x = 8, 7  # one place, written out
    patch, pair = wave(angle)[0, y - 3 : y + 4, x - 3 : x + 4, 0], oriented()[..., 0, 2 * direction : 2 * direction + 2]
    length = np.sqrt(((patch[..., None] * pair).sum((0, 1)) ** 2).sum() + 1e-6)
    np.testing.assert_allclose(found[0][0, y, x, direction], length, rtol=1e-4)


def test_one_colour_has_no_strokes_even_at_its_borders():
    found = np.asarray(scattering(jnp.full((1, 32, 32, 1), -0.7)))[0]
    np.testing.assert_allclose(found[:-16], 1e-3, atol=1e-4)  # the root of epsilon
    np.testing.assert_allclose(found[-16:], -0.7, rtol=1e-5)


def test_channels_do_not_mix():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype(np.float32))
    both = np.sort(np.asarray(scattering(x)), 1)
    alone = np.sort(np.concatenate([np.asarray(scattering(x[..., i : i + 1])) for i in (0, 1)], 1), 1)
    np.testing.assert_allclose(both, alone, atol=1e-5)


@pytest.mark.parametrize("size, expected", [((8, 8), 1), ((4, 40), 1), ((28, 28), 2), ((32, 64), 2), ((64, 64), 3)])
def test_scales_are_as_many_as_fit(size, expected):
    assert scales(*size) == expected


@pytest.mark.parametrize("shape", [(2, 300, 90, 3), (2, 3, 128, 128, 1)])
def test_large_pictures_are_reduced_first(shape):
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    source = array_source(x)
    small = reduced(jnp.asarray(x))
    assert max(small.shape[-3:-1]) == 64 and small.shape[:-3] == shape[:-3]
    found = build_extractor("scattering", source, source).of(x)["features"]
    of = scattering if len(shape) == 4 else of_clips
    assert found.shape == jax.eval_shape(of, small).shape and np.isfinite(found).all()


def test_slopes_are_finite_where_there_is_nothing():
    slope = jax.grad(lambda x: scattering(x).sum())(jnp.zeros((1, 16, 16, 1)))
    assert np.isfinite(np.asarray(slope)).all()


def digits(start, stop):
    x = open_source("mnist_5k", split="train").take(np.arange(start, stop))["x"]
    return (x.astype(np.float32) / 127.5 - 1).reshape(-1, 28, 28, 1)


def test_defects_are_seen_that_pixels_hardly_see():
    """Blur, grain, quarters in other places: the kernel distance of features leaves that of other digits far behind."""
    source = open_source("mnist_5k", split="train")
    eyes, real, other = build_extractor("scattering", source, source), digits(0, 500), digits(500, 1000)
    soft = 0.8 * other + 0.1 * (np.roll(other, 1, 1) + np.roll(other, 1, 2))
    grain = np.where(np.random.default_rng(0).random(other.shape) < 0.03, 1, other).astype(np.float32)
    few = other[np.arange(500) % 5]

    def distance(x):
        return kid(eyes.of(real)["features"], eyes.of(x)["features"])

    noise = 3 * np.abs(distance(other).of_y).mean() / np.sqrt(500)
    for x in (soft, grain, few, np.roll(other, (14, 14), (1, 2))):
        assert distance(x).value > max(10 * abs(distance(other).value), noise, 0.03)
    pixels = [float(sliced_wasserstein(jnp.asarray(x), jnp.asarray(real), jax.random.key(0))) for x in (soft, other)]
    assert pixels[0] < 2 * pixels[1]


def test_of_clips_the_order_of_frames_is_seen():
    """A square that moves by a pixel a frame, the same frames in another order, and a square that stays."""
    moving = np.zeros((64, 8, 16, 16, 1), np.float32)
    for i, start in enumerate(np.random.default_rng(0).integers(0, 5, 64)):
        for frame in range(8):
            moving[i, frame, 6:10, start + frame : start + frame + 4] = 1
    source = array_source(moving, low=0.0, high=1.0)
    eyes = build_extractor("scattering", source, source)

    def distance(x):
        return kid(eyes.of(moving)["features"], eyes.of(x)["features"]).value

    shuffled, frozen = moving[:, [3, 6, 0, 5, 2, 7, 1, 4]], np.repeat(moving[:, :1], 8, 1)
    assert distance(moving) < 0.1 < min(distance(shuffled), distance(frozen))
    assert of_clips(jnp.asarray(moving[:2, :1])).shape == of_clips(jnp.asarray(moving[:2])).shape


def test_points_have_no_strokes():
    source = open_source("ring8")
    with pytest.raises(UsageError, match="scattering needs pictures or clips"):
        build_extractor("scattering", source, source)
