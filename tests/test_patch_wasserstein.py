"""Distances of patches: against closed forms, and that edges are seen where a distance of pixels hardly sees them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.data.open import open_source
from genjax_art.errors import UsageError
from genjax_art.metrics import patch_wasserstein as patches
from genjax_art.metrics.patch_wasserstein import patch_wasserstein, pyramid
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein
from genjax_art.metrics.subject import Subject

KEY = jax.random.key(0)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def digits(start, stop):
    x = open_source("mnist_5k", split="train").take(np.arange(start, stop))["x"]
    return (x.astype(np.float32) / 127.5 - 1).reshape(-1, 28, 28, 1)


@pytest.mark.parametrize("space, levels", [((32, 32), 3), ((28, 28), 3), ((5, 29, 17), 2), ((4, 6), 1)])
def test_a_pyramid_adds_up_to_the_picture(space, levels):
    x = normal(2, *space, 3)
    found = pyramid(jnp.asarray(x))
    assert len(found) == levels
    whole = found[-1]
    for level in reversed(found[:-1]):
        whole = level + jax.image.resize(whole, level.shape, "linear")
    np.testing.assert_allclose(whole, x, atol=1e-5)


@pytest.mark.parametrize("space", [(32, 32), (8, 16, 16), (3, 3)])
def test_equal_sets_have_a_distance_of_0_and_different_ones_have_not(space):
    x = normal(6, *space, 2)
    assert set(patch_wasserstein(x, x, KEY)) == {0.0}
    assert min(patch_wasserstein(1.5 * x, x, KEY)) > 0.05


def test_a_lighter_set_is_farther_at_the_coarsest_level_only_by_what_theory_says():
    """Every projection moves by the same, delta / sigma times the sum of its direction."""
    x, delta = normal(20, 32, 32, 1), 0.5
    *finer, coarsest = patch_wasserstein(x + delta, x, KEY)
    assert max(finer) < 1e-5
    small = patches.patches(x, KEY)[-1]
    directions = patches._directions(jax.random.fold_in(KEY, 2), small.shape[1])
    np.testing.assert_allclose(coarsest, delta / small.std() * np.abs(directions.sum(0)).mean(), rtol=1e-4)


def test_blocks_do_not_matter(monkeypatch):
    x, y = normal(40, 16, 16, 1), normal(40, 16, 16, 1)[::-1] * 0.7
    whole = patch_wasserstein(x, y, KEY)
    monkeypatch.setattr(patches, "BLOCK", 16)
    np.testing.assert_allclose(patch_wasserstein(x, y, KEY), whole, rtol=1e-5)


def test_blur_and_grain_are_seen_that_pixels_hardly_see():
    """Each distance beside that of undistorted digits."""
    real, other = digits(0, 500), digits(500, 1000)
    soft = 0.8 * other + 0.1 * (np.roll(other, 1, 1) + np.roll(other, 1, 2))
    grain = np.where(np.random.default_rng(0).random(other.shape) < 0.03, 1, other).astype(np.float32)
    of_pixels = jax.jit(lambda x: sliced_wasserstein(x, jnp.asarray(real), KEY))

    def ratios(distance):
        return np.array([distance(x) / distance(other) for x in (soft, grain)])

    of_patches = ratios(lambda x: np.mean(patch_wasserstein(x, real, KEY)))
    assert (of_patches > 1.5).all() and (of_patches > 1.3 * ratios(of_pixels)).all()


def test_five_pictures_again_and_again_are_no_data():
    real, other = digits(0, 500), digits(500, 1000)
    few = other[np.arange(500) % 5]
    assert np.mean(patch_wasserstein(few, real, KEY)) > 3 * np.mean(patch_wasserstein(other, real, KEY))


def test_the_order_of_frames_is_seen():
    """A square that moves by a pixel a frame, and the same frames in another order."""
    square = np.zeros((64, 8, 16, 16, 1), np.float32)
    for i, start in enumerate(np.random.default_rng(0).integers(0, 5, 64)):
        for frame in range(8):
            square[i, frame, 6:10, start + frame : start + frame + 4] = 1
    shuffled = square[:, [3, 6, 0, 5, 2, 7, 1, 4]]
    assert np.mean(patch_wasserstein(shuffled, square, KEY)) > 0.05


def test_sets_must_be_alike_in_shape():
    with pytest.raises(ValueError, match="as many examples"):
        patch_wasserstein(normal(4, 8, 8, 1), normal(3, 8, 8, 1), KEY)


def test_points_have_no_patches():
    with pytest.raises(UsageError, match="not of arrays of kind point"):
        source = open_source("ring8")
        patches.measure(Subject(source.spec, normal(8, 2), source, source, lambda x: x, None))
