"""Augmentations at every spatial rank: what moves where, how often, gradients through it, eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.models import augment as a
from genjax_art.shards import DEVICE_AXIS

KEY = jax.random.key(3)
SHAPES = {"roll": (16, 24, 3), "image": (16, 12, 10, 3), "clip": (8, 8, 12, 10, 3)}
NAMES = sorted(a.AUGMENTATIONS)


def draw(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_changes_examples_differently_and_repeats_with_its_key(name):
    shape = SHAPES["clip"]
    x = jnp.broadcast_to(draw(0, shape[1:]), shape)
    once = jax.jit(a.AUGMENTATIONS[name])
    y = once(x, KEY)
    np.testing.assert_array_equal(y, once(x, KEY))
    assert np.any(np.asarray(y) != np.asarray(once(x, jax.random.key(4))))
    assert len(np.unique(np.asarray(y).reshape(len(y), -1), axis=0)) >= (2 if name == "flip" else len(y) // 3)


def test_color_is_brightness_saturation_contrast_per_example():
    x = draw(1, (64, 6, 6, 3))
    x, y = (np.asarray(v, np.float64) for v in (x, jax.jit(a.color)(x, KEY)))
    grey_x, grey_y = (np.mean(v, axis=-1, keepdims=True) for v in (x, y))
    level_x, level_y = (np.mean(v, axis=(1, 2, 3)) for v in (x, y))
    brightness = level_y - level_x  # saturation and contrast leave the mean alone
    assert -0.5 <= brightness.min() < -0.4
    assert 0.4 < brightness.max() <= 0.5
    contrast = _slopes(grey_x, grey_y)
    assert 0.5 <= contrast.min() < 0.6
    assert 1.4 < contrast.max() <= 1.5
    saturation = _slopes(x - grey_x, y - grey_y) / contrast
    assert 0.0 <= saturation.min() < 0.15
    assert 1.85 < saturation.max() <= 2.0


def _slopes(before, after):
    """The factor by which deviations from each example's mean grew; asserts that it is one factor."""
    n = len(before)
    before, after = (np.asarray(v, np.float64).reshape(n, -1) for v in (before, after))
    before, after = before - before.mean(1, keepdims=True), after - after.mean(1, keepdims=True)
    factors = np.sum(before * after, 1) / np.sum(before**2, 1)
    np.testing.assert_allclose(after, factors[:, None] * before, atol=1e-5)
    return factors


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_translation_is_a_shift_filled_with_zero_up_to_an_eighth(kind):
    x = draw(2, SHAPES[kind])
    y = np.asarray(jax.jit(a.translation)(x, KEY))
    space = x.shape[1:-1]
    reach = [int(n / 8 + 0.5) for n in space]
    seen = set()
    for before, after in zip(np.asarray(x), y, strict=True):
        shifts = [
            s
            for s in np.ndindex(*(2 * r + 1 for r in reach))
            if np.array_equal(after, _shifted(before, [i - r for i, r in zip(s, reach, strict=True)]))
        ]
        assert len(shifts) == 1
        seen.add(shifts[0])
    assert len(seen) >= min(5, np.prod([2 * r + 1 for r in reach]))


def _shifted(x, shift):
    out = np.zeros_like(x)
    to = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, x.shape[:-1], strict=True))
    of = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(shift, x.shape[:-1], strict=True))
    out[to] = x[of]
    return out


def test_translation_reaches_every_shift_equally():
    x = jnp.zeros((4096, 16, 1)).at[:, 8].set(1.0)
    places = np.argmax(jax.jit(a.translation)(x, KEY)[:, :, 0], axis=1)
    shares = np.bincount(places, minlength=16) / 4096
    np.testing.assert_allclose(shares[6:11], np.full(5, 0.2), atol=0.03)
    assert shares[6:11].sum() == 1.0


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_cutout_erases_one_box_of_half_the_extent(kind):
    x = jnp.ones(SHAPES[kind])
    y = np.asarray(jax.jit(a.cutout)(x, KEY))
    assert set(np.unique(y)) == {0.0, 1.0}
    space = x.shape[1:-1]
    sides = set()
    for example in y:
        hole = np.argwhere(example == 0)
        low, high = hole.min(0), hole.max(0)
        assert len(hole) == np.prod(high - low + 1)  # a full box, all channels
        assert high[-1] - low[-1] == 2
        box = (high - low + 1)[:-1]
        inside = (low[:-1] > 0) & (high[:-1] < np.array(space) - 1)
        half = np.array([int(n / 2 + 0.5) for n in space])
        assert np.all(box <= half)
        assert np.all(box[inside] == half[inside])
        sides.update(enumerate(box))
    assert len(sides) > len(space)  # boxes at the border are cut


def test_cutout_centres_everywhere_equally():
    y = np.asarray(jax.jit(a.cutout)(jnp.ones((4096, 8, 1)), KEY))[:, :, 0]
    # A box of 4 starting at s - 2, s uniform in 0..8: place p is covered by the starts p - 1 ... p + 2.
    covered = [len([s for s in range(9) if s - 2 <= p < s + 2]) / 9 for p in range(8)]
    np.testing.assert_allclose(1 - y.mean(0), covered, atol=0.03)


@pytest.mark.parametrize("kind", ["roll", "clip"])
def test_gradients_pass_through_all_augmentations_twice(kind):
    """Directional derivatives of a slope penalty taken through the augmentation, against differences."""
    with jax.enable_x64(True):
        x, direction = (jnp.asarray(np.random.default_rng(s).normal(size=SHAPES[kind])) for s in (3, 4))

        def critic(v):
            return jnp.sum(jnp.tanh(a.augment(v, KEY)) ** 2)

        def penalty(v):
            return jnp.sum(jax.grad(critic)(v) ** 2)

        @jax.jit
        def slope_and_difference(step):
            slope = jnp.sum(jax.grad(penalty)(x) * direction)
            ahead, behind = jax.lax.map(penalty, jnp.stack([x + step * direction, x - step * direction]))
            return slope, (ahead - behind) / (2 * step)

        slope, difference = slope_and_difference(1e-5)
        assert abs(float(slope)) > 1e-2
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_each_augmentation_is_gated_per_example():
    x = jnp.ones((4096, 8, 1))
    gated = jax.jit(lambda p: a.augment(x, KEY, p, ("cutout",)))
    changed = np.any(np.asarray(gated(jnp.float32(0.3))) != 1, axis=(1, 2))
    np.testing.assert_allclose(changed.mean(), 0.3, atol=0.03)
    np.testing.assert_array_equal(gated(jnp.float32(0.0)), x)
    assert np.all(np.any(np.asarray(gated(jnp.float32(1.0))) != 1, axis=(1, 2)))


def test_a_left_out_augmentation_leaves_the_draws_of_the_others():
    x = draw(5, SHAPES["image"])

    @jax.jit
    def all_at_once_and_one_by_one(x):
        one_by_one = a.augment(a.augment(x, KEY, 1.0, ("translation",)), KEY, 1.0, ("cutout",))
        return a.augment(x, KEY, 1.0, ("cutout", "translation")), one_by_one

    np.testing.assert_array_equal(*all_at_once_and_one_by_one(x))


def test_eight_devices_draw_what_one_does():
    x = draw(6, SHAPES["clip"])
    expected = jax.jit(lambda v: a.augment(v, KEY, 0.7))(x)
    shares = x.reshape(8, -1, *x.shape[1:])
    found = jax.pmap(lambda v: a.augment(v, KEY, 0.7), DEVICE_AXIS)(shares).reshape(x.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_flip_mirrors_half_of_the_examples_left_to_right(kind):
    x = draw(9, (64, *SHAPES[kind][1:]))
    y = np.asarray(jax.jit(a.flip)(x, KEY))
    same = [np.array_equal(one, other) for one, other in zip(y, x, strict=True)]
    mirrored = [np.array_equal(one, other[..., ::-1, :]) for one, other in zip(y, x, strict=True)]
    assert all(s != m for s, m in zip(same, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


def test_bfloat16_stays_bfloat16():
    assert jax.eval_shape(a.augment, jnp.ones((2, 8, 8, 3), jnp.bfloat16), KEY).dtype == jnp.bfloat16


def test_wrong_uses_are_named():
    with pytest.raises(ValueError, match="leave 'color' out"):
        a.augment(jnp.ones((2, 8, 8, 1)), KEY)
    for name in ("translation", "cutout", "flip"):
        with pytest.raises(ValueError, match=f"leave '{name}' out"):
            a.augment(jnp.ones((2, 5)), KEY, 1.0, (name,))
    with pytest.raises(ValueError, match=r"unknown augmentation 'rotation'; known: color, translation, cutout, flip"):
        a.augment(jnp.ones((2, 8, 8, 3)), KEY, 1.0, ("rotation",))


def test_adaptive_probability_follows_the_sign_and_stays_in_zero_one():
    def adapt(p, r, images=256):
        return float(a.adapt_probability(jnp.float32(p), jnp.float32(r), images))

    assert adapt(0.2, 0.9) == pytest.approx(0.2 + 256 / 500_000)
    assert adapt(0.2, 0.1) == pytest.approx(0.2 - 256 / 500_000)
    assert adapt(0.2, 0.6) == pytest.approx(0.2)
    assert adapt(0.0, -1.0) == 0.0
    assert adapt(1.0, 1.0) == 1.0
    assert adapt(0.0, 1.0, 500_000) == 1.0  # the whole way in 500,000 images
