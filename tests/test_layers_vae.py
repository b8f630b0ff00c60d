"""The VAE of clips in layers: where pictures are put, how their light adds up, and that it finds what moves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.errors import UsageError
from genjax_art.latents import TYPICAL, example_keys
from genjax_art.models import layers_vae as model
from genjax_art.models.moving_layers import overlaps
from genjax_art.objectives import video_vae
from genjax_art.objectives.method import Weights
from genjax_art.spec import ArraySpec
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = ArraySpec((4, 12, 9, 3), kind="clip")
TINY = {"content": 3, "width": 4, "hidden": 8, "recurrent": 6, "couplings": 2}


def method_of(spec=SPEC, rate=1e-3, **options):
    networks = model.build(spec, **{**TINY, **options})
    return video_vae.build(networks, spec, {"vae": optax.adam(rate)}, likelihood="bernoulli")


def filled(method, scale=0.4):
    """Weights none of which is zero."""
    rng = np.random.default_rng(0)
    params, extras = jax.eval_shape(method.init, jax.random.key(0))
    made = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, scale, p.shape), p.dtype), params)
    return Weights(made, jax.tree.map(lambda e: jnp.zeros(e.shape, e.dtype), extras))


def light_of(decoder, params, f, z):
    log_odds = np.asarray(decoder.apply({"params": params}, f, z), np.float64)
    return 1 / (1 + np.exp(-log_odds))


@pytest.fixture(scope="module")
def weights():
    return filled(method_of())


@pytest.mark.parametrize(("extent", "side", "fine"), [(8, 4, 1), (9, 4, 2), (5, 5, 1), (4, 1, 1), (6, 9, 3)])
def test_a_row_is_put_from_border_to_border(extent, side, fine):
    """Each pixel gets what lies on it: the difference of a running sum between its two ends."""
    row, room = np.arange(1.0, side + 1), extent - side / fine
    sums = np.concatenate([[0], np.cumsum(row)]) / fine
    for first in np.linspace(-1.5, room + 1.5, 13):
        at = 2 * first / room - 1 if room else 0.0
        ends = np.interp(np.arange(extent + 1), (first if room else 0.0) + np.arange(side + 1) / fine, sums)
        put = overlaps(jnp.asarray([at]), extent, side, fine)[0] @ row
        np.testing.assert_allclose(put, np.diff(ends), atol=1e-5)


def test_light_of_layers_adds_up(weights):
    """1 - prod (1 - p) of the frames that show one layer each; all layers' pictures have the same network."""
    params = weights.params["vae"]["decoder"]
    two, one = (model.build(SPEC, **TINY, layers=n)["decoder"] for n in (2, 1))
    f, z = jax.random.normal(jax.random.key(0), (5, 6)), jax.random.normal(jax.random.key(1), (5, 4, 4)) / 2
    first, second = light_of(one, params, f[:, :3], z[..., :2]), light_of(one, params, f[:, 3:], z[..., 2:])
    both = light_of(two, params, f, z)
    np.testing.assert_allclose(both, 1 - (1 - first) * (1 - second), atol=5e-4)
    assert np.ptp(both) > 0.1 and (both > np.maximum(first, second) - 1e-6).all()
    swapped = light_of(two, params, jnp.concatenate([f[:, 3:], f[:, :3]], -1), jnp.roll(z, 2, -1))
    np.testing.assert_allclose(swapped, both, atol=1e-6)


def test_a_picture_moves_as_it_is(weights):
    """Two pixels down and one to the left, within the frame."""
    decoder, params = model.build(SPEC, **TINY, layers=1)["decoder"], weights.params["vae"]["decoder"]
    rows, columns = (extent - side for extent, side in zip(SPEC.shape[1:3], decoder.side, strict=True))
    f = jax.random.normal(jax.random.key(0), (2, 3))
    at = jnp.broadcast_to(jnp.asarray([-1 + 2 / rows, -1 + 4 / columns]), (2, 4, 2))
    there = at + jnp.asarray([4 / rows, -2 / columns])[None, None]
    here, moved = light_of(decoder, params, f, at), light_of(decoder, params, f, there)
    np.testing.assert_allclose(np.roll(here, (2, -1), (2, 3)), moved, atol=1e-5)
    assert np.ptp(here) > 0.05
    each = light_of(decoder, params, jnp.repeat(f[:, None], 4, 1), at)  # a content of each frame
    np.testing.assert_allclose(each, here, atol=1e-6)


def test_the_prior_goes_on_as_a_layer_went(weights):
    """Each layer for itself, and driven by the noise that its moments leave."""
    prior, own = model.build(SPEC, **TINY)["prior"], {"params": weights.params["vae"]["prior"]}
    z = jax.random.normal(jax.random.key(0), (3, 5, 4))
    moments = prior.apply(own, z)
    other = prior.apply(own, z.at[..., 2:].set(7.0))
    np.testing.assert_array_equal(moments.mu[..., :2], other.mu[..., :2])
    swapped = prior.apply(own, jnp.roll(z, 2, -1))
    np.testing.assert_allclose(swapped.mu, jnp.roll(moments.mu, 2, -1), atol=1e-6)
    noise = (z - moments.mu) * jnp.exp(-0.5 * moments.logvar)
    np.testing.assert_allclose(prior.apply(own, noise, method="drive"), z, atol=1e-4)
    still = jax.tree.map(jnp.zeros_like, own)
    expected = np.concatenate([np.zeros((3, 1, 4)), z[:, :1], 2 * z[:, 1:-1] - z[:, :-2]], 1)
    np.testing.assert_allclose(prior.apply(still, z).mu, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 12, 9, 3), (3, 40, 20, 1), (2, 1, 3, 1)])
def test_clips_of_any_extents_and_lengths(shape):
    method = method_of(ArraySpec(shape, kind="clip"), layers=3)
    weights = filled(method)
    x = jax.random.uniform(jax.random.key(1), (2, *shape), minval=-1.0)
    z = jax.jit(lambda x: method.encode(weights, x, None, None))(x)
    assert z["content"].shape == (2, 9) and z["motion"].shape == (2, shape[0], 6)
    assert method.decode(weights, z, None, None).shape == x.shape
    longer = method.abilities["longer"](weights, jax.random.key(0), 2, None, TYPICAL, shape[0] + 2)
    assert method.decode(weights, longer, None, None).shape == (2, shape[0] + 2, *shape[1:])


def test_bound_and_slopes_are_finite_at_extremes():
    method = method_of()
    for scale, level in ((0.0, 1.0), (0.4, -1.0), (30.0, 1.0)):
        weights = filled(method, scale)
        x = jnp.full((2, *SPEC.shape), level)
        grads, (metrics, _) = jax.jit(jax.grad(method.players[0].loss, has_aux=True))(
            weights.params["vae"], {}, weights.extras, {"x": x}, jax.random.key(0)
        )
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, metrics)))


def test_it_finds_what_moves():
    """A square that passes through a frame: its layer goes where it goes, and what is drawn is nearer than nothing."""
    spec = ArraySpec((6, 16, 16, 1), kind="clip")
    rng = np.random.default_rng(0)
    start, way = rng.uniform(2, 9, (32, 1, 2)), rng.uniform(-0.7, 0.7, (32, 1, 2))
    place = np.rint(start + way * np.arange(6)[None, :, None]).astype(int).clip(0, 11)
    x = np.full((32, *spec.shape), -1.0, np.float32)
    for clip, frame in np.ndindex(32, 6):
        top, left = place[clip, frame]
        x[clip, frame, top : top + 5, left : left + 5] = 1.0
    seen = jnp.asarray(x)
    networks = model.build(spec, layers=1, content=2, width=8, hidden=32, recurrent=16, couplings=0)
    method = video_vae.build(
        networks, spec, {"vae": optax.adam(5e-3)}, likelihood="bernoulli", beta_motion=0.1, beta_content=0.1
    )
    state = create_state(method.players, *jax.jit(method.init)(jax.random.key(0)))
    step = jax.jit(make_step(method.players))
    for _ in range(120):
        state, _ = step(state, {"x": seen})
    found = networks["encoder"].apply({"params": state.params["vae"]["encoder"]}, seen, jnp.zeros((32, 2)))[1].mu
    for axis in (0, 1):
        assert np.corrcoef(np.ravel(found[..., axis]), np.ravel(place[..., axis]))[0, 1] > 0.95
    weights = Weights(state.params, state.extras)
    drawn = method.decode(weights, method.encode(weights, seen, None, None), None, None)
    assert np.mean((drawn - x) ** 2) < 0.3 * np.mean((x + 1) ** 2)
    keys = example_keys(jax.random.key(1), 32)
    assert np.isfinite(method.abilities["bound"](weights, seen, None, keys)["elbo"]).all()


def test_what_it_is_not_for():
    with pytest.raises(UsageError, match=r"layers_vae makes clips .* moving_digits"):
        model.build(ArraySpec((8, 8, 1)))
    for share in (0.0, 1.5):
        with pytest.raises(UsageError, match=f"at most 1, got {share:g}"):
            model.build(SPEC, share=share)
    with pytest.raises(UsageError, match="layers must be at least 1, got 0"):
        model.build(SPEC, layers=0)
    with pytest.raises(UsageError, match=r"for bernoulli: --objective\.likelihood bernoulli"):
        video_vae.build(model.build(SPEC, **TINY), SPEC, {"vae": optax.adam(1e-3)}, likelihood="gaussian")
