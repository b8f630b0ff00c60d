"""The GAN of clips in layers: what it draws stays as it is, where it is drawn, and for whom it is."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.errors import UsageError
from genjax_art.latents import TYPICAL
from genjax_art.models import layers_gan as model
from genjax_art.models.moving_layers import overlaps
from genjax_art.objectives import video_gan
from genjax_art.objectives.method import Weights
from genjax_art.spec import ArraySpec

SPEC = ArraySpec((4, 12, 16, 3), kind="clip", classes=("a", "b"))
TINY = {"content": 3, "motion": 2, "state": 5, "width": 4, "frames_width": 4, "clips_width": 4, "conditional": True}
PLAYERS = ("frames", "clips", "generator")


def filled(tree, seed=0):
    """Numbers none of which is zero, in the place of first ones."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 0.4, p.shape), p.dtype), tree)


@pytest.fixture(scope="module")
def made():
    networks = model.build(SPEC, **TINY, generator_norm="conditional_batch")
    method = video_gan.build(networks, SPEC, dict.fromkeys(PLAYERS, optax.sgd(0.1)))
    params, extras = jax.eval_shape(method.init, jax.random.key(0))
    return networks["generator"], method, Weights(filled(params), jax.tree.map(jnp.ones_like, filled(extras)))


def test_a_frame_shows_the_clips_picture_at_its_place(made):
    """What is drawn, put by hand into each frame; no pixel is of anything else."""
    generator, method, weights = made
    label = jnp.asarray([0, 1, 1])
    z = method.draw(weights, jax.random.key(0), 3, label, TYPICAL)
    x = np.asarray(method.decode(weights, z, label, None))
    variables = {"params": weights.params["generator"], **weights.extras["generator"]}

    _, kept = generator.apply(
        variables, z, label, train=False, capture_intermediates=lambda part, _: isinstance(part, model.Pictures)
    )
    picture = np.asarray(kept["intermediates"]["Pictures_0"]["__call__"][0])
    _, dense = generator.apply(
        variables, z, label, train=False, capture_intermediates=lambda part, _: part.name == "place"
    )
    place = np.tanh(np.asarray(dense["intermediates"]["place"]["__call__"][0]))
    assert picture.shape == (3, 12, 16, 3) and place.shape == (3, 4, 2) and np.ptp(place) > 0.1
    for clip, frame in np.ndindex(3, 4):
        down, right = (overlaps(jnp.asarray(place[clip, frame, i]), SPEC.shape[1 + i], (12, 16)[i], 2) for i in (0, 1))
        light = np.einsum("yp,pqc,xq->yxc", down, picture[clip], right)
        np.testing.assert_allclose(x[clip, frame], 2 * light - 1, atol=1e-3)
    each = z | {"content": jnp.repeat(z["content"][:, None], 4, 1)}
    np.testing.assert_allclose(method.decode(weights, each, label, None), x, atol=1e-5)


def test_longer_clips_begin_as_shorter_ones(made):
    _, method, weights = made
    label = jnp.asarray([0, 1])
    clips = [
        method.decode(
            weights, method.abilities["longer"](weights, jax.random.key(1), 2, label, TYPICAL, n), label, None
        )
        for n in (3, 4, 9)
    ]
    for shorter, longer in pairwise(clips):
        np.testing.assert_allclose(longer[:, : shorter.shape[1]], shorter, atol=1e-5)
    assert clips[-1].shape == (2, 9, *SPEC.shape[1:])


def test_numbers_are_finite_at_extremes(made):
    generator, method, weights = made
    label = jnp.asarray([0, 1])
    z = jax.tree.map(lambda v: 1e4 * v, method.draw(weights, jax.random.key(0), 2, label, TYPICAL))

    def of(params):
        variables = {"params": params, **weights.extras["generator"]}
        return jnp.sum(generator.apply(variables, z, label, train=False) ** 2)

    value, slope = jax.value_and_grad(of)(jax.tree.map(lambda p: 50.0 * p, weights.params["generator"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, slope)))


def test_what_it_is_not_for():
    with pytest.raises(UsageError, match=r"layers_gan makes clips .* moving_digits"):
        model.build(ArraySpec((8, 8, 3)))
    wrong = (({"share": 0.0}, "share must be over 0"), ({"layers": 0}, "layers must be"), ({"fine": 0}, "fine must be"))
    for options, words in wrong:
        with pytest.raises(UsageError, match=words):
            model.build(SPEC, **options)
