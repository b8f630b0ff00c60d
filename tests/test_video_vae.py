"""The VAE of clips: its bound against closed forms, its latents, and what content and motion can hold."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.latents import TYPICAL, example_keys
from genjax_art.losses.variational import Gaussian, kl_gaussians
from genjax_art.models import video_vae as model
from genjax_art.objectives import video_vae
from genjax_art.objectives.method import Weights
from genjax_art.spec import ArraySpec
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = ArraySpec((4, 9, 7, 1), kind="clip", classes=("a", "b"))
TINY = {"content": 3, "motion": 2, "width": 4, "hidden": 8, "recurrent": 6, "couplings": 3}


def method_of(conditional=False, remat=False, **options):
    networks = model.build(SPEC, **TINY, conditional=conditional, remat=remat)
    return video_vae.build(networks, SPEC, {"vae": optax.adam(1e-3)}, **options)


def weights_of(method):
    """Parameters none of which is zero, without the time that it takes to compile the first ones."""
    rng = np.random.default_rng(0)
    params, extras = jax.eval_shape(method.init, jax.random.key(0))
    filled = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 0.4, p.shape), p.dtype), params)
    return Weights(filled, jax.tree.map(lambda e: jnp.zeros(e.shape, e.dtype), extras))


@pytest.fixture(scope="module")
def made():
    method = method_of(beta_content=0.5, beta_motion=2.0, kl_warmup_steps=2)
    return method, weights_of(method)


@pytest.fixture(scope="module")
def slope(made):
    """The loss with its gradient, compiled once."""
    return jax.jit(jax.value_and_grad(made[0].players[0].loss, has_aux=True))


def clips(n=3, frames=4, seed=2):
    return jax.random.uniform(jax.random.key(seed), (n, frames, *SPEC.shape[1:]), minval=-1.0)


def test_the_contents_kl_is_against_its_learned_prior(made):
    """log p(f) by the Jacobian of what bends noise."""
    method, weights = made
    networks, x = model.build(SPEC, **TINY), clips(2)
    params, own = weights.params["vae"], {"params": weights.params["vae"]["content_prior"]}
    keys = example_keys(jax.random.key(3), 2)
    found = jax.jit(method.abilities["bound"])(weights, x, None, keys)["kl_content"]
    noise = jax.vmap(lambda key: jax.random.normal(fold(key, "content"), (TINY["content"],)))(keys)
    q = Gaussian(*jax.jit(networks["encoder"].apply)({"params": params["encoder"]}, x, noise)[0])
    f, flow = q.at(noise), networks["content_prior"]
    bent, _ = jax.jit(flow.apply)(own, f)
    jacobian = jax.jit(jax.vmap(jax.jacobian(lambda e: flow.apply(own, e[None], method="bend")[0])))
    volume = np.linalg.slogdet(np.asarray(jacobian(bent)))[1]
    expected = kl_gaussians(q) + 0.5 * jnp.sum(bent**2 - f**2, -1) + volume
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (abs(found - kl_gaussians(q)) > 0.1).all(), "the learned prior is not the standard normal one"


# a linear model in closed form: x_t = f + z_t + noise, z_t = a z_{t-1} + s noise, and a q that sees nothing
T, A, S, SCALE = 3, 0.8, 0.5, 0.7
Q_F, Q_Z = (0.4, -1.0), ((0.3, -0.2, 0.5), (-0.5, -1.5, -1.0))  # means and log-variances


class LinearEncoder(nn.Module):
    def __call__(self, x, noise, label=None):
        ones = jnp.ones((len(x), 1))
        motion = tuple(jnp.broadcast_to(jnp.asarray(v)[None, :, None], (len(x), T, 1)) for v in Q_Z)
        return tuple(v * ones for v in Q_F), motion


class LinearPrior(nn.Module):
    def __call__(self, z, label=None):
        before = jnp.pad(z[:, :-1], ((0, 0), (1, 0), (0, 0)))
        return A * before, jnp.full(z.shape, 2 * np.log(S))


class LinearDecoder(nn.Module):
    content: int = 1
    motion: int = 1
    classes: int = 0

    def __call__(self, f, z, label=None):
        return (f[:, None] + z)[..., None, None]


def divergence(mu, cov, other_mu, other_cov):
    """KL of two normal distributions in closed form."""
    inverse = np.linalg.inv(other_cov)
    far = other_mu - mu
    logdets = np.linalg.slogdet(other_cov)[1] - np.linalg.slogdet(cov)[1]
    return 0.5 * (np.trace(inverse @ cov) + far @ inverse @ far - len(mu) + logdets)


def test_the_bound_is_the_evidence_less_the_divergence_of_q_from_the_posterior():
    """log p(x) - E[elbo] = KL(q(f, z) || p(f, z|x)), and the KLs are those of f and of the whole path z."""
    spec = ArraySpec((T, 1, 1, 1), kind="clip")
    networks = {"encoder": LinearEncoder(), "prior": LinearPrior(), "decoder": LinearDecoder()}
    method = video_vae.build(networks, spec, {"vae": optax.adam(1e-3)})
    params = {"encoder": {}, "prior": {}, "decoder": {}, "log_scale": jnp.log(SCALE)}
    x, n = np.asarray([0.9, -0.3, 0.6]), 40_000
    batch = jnp.broadcast_to(jnp.asarray(x, jnp.float32).reshape(1, T, 1, 1, 1), (n, T, 1, 1, 1))
    keys = example_keys(jax.random.key(0), n)
    found = jax.jit(method.abilities["bound"])(Weights({"vae": params}, {}), batch, None, keys)
    error = {name: 4 * float(np.std(value)) / np.sqrt(n) for name, value in found.items()}
    found = {name: float(np.mean(value)) for name, value in found.items()}
    assert error["elbo"] < 0.1

    steps = np.linalg.inv(np.eye(T) - A * np.eye(T, k=-1))  # z = steps @ (s noise)
    prior = np.zeros((1 + T, 1 + T))
    prior[0, 0], prior[1:, 1:] = 1.0, S**2 * steps @ steps.T
    sees = np.concatenate([np.ones((T, 1)), np.eye(T)], 1)
    evidence = sees @ prior @ sees.T + SCALE**2 * np.eye(T)
    log_p = -0.5 * (x @ np.linalg.inv(evidence) @ x + np.linalg.slogdet(evidence)[1] + T * np.log(2 * np.pi))
    gain = prior @ sees.T @ np.linalg.inv(evidence)
    q_mu, q_cov = np.concatenate([[Q_F[0]], Q_Z[0]]), np.diag(np.exp(np.concatenate([[Q_F[1]], Q_Z[1]])))
    gap = divergence(q_mu, q_cov, gain @ x, prior - gain @ sees @ prior)
    assert found["elbo"] == pytest.approx(log_p - gap, abs=error["elbo"])
    content = divergence(q_mu[:1], q_cov[:1, :1], np.zeros(1), np.eye(1))
    motion = divergence(q_mu[1:], q_cov[1:, 1:], np.zeros(T), prior[1:, 1:])
    assert found["kl_content"] == pytest.approx(content, abs=1e-5)
    assert found["kl_motion"] == pytest.approx(motion, abs=error["kl_motion"])
    assert found["elbo"] == pytest.approx(-found["reconstruction"] - found["kl_content"] - found["kl_motion"], abs=1e-3)


def test_the_weights_rise_and_the_loss_is_what_the_metrics_say(made, slope):
    params, extras = made[1].params["vae"], made[1].extras
    for share in (0.0, 0.5, 1.0, 1.0):
        (loss, (metrics, extras)), _ = slope(params, {}, extras, {"x": clips()}, jax.random.key(0))
        got = {name: float(value) for name, value in metrics.items()}
        assert got["kl_weight"] == share
        paid = share * (0.5 * got["kl_content"] + 2.0 * got["kl_motion"])
        assert float(loss) == pytest.approx(got["reconstruction"] + paid, rel=1e-5)
        assert got["elbo"] == pytest.approx(-got["reconstruction"] - got["kl_content"] - got["kl_motion"], rel=1e-5)


def test_latents_are_the_noise_that_drives_the_prior(made):
    """From motion to noise and back, and from noise to motion and back."""
    method, weights = made
    params, prior = weights.params["vae"], model.build(SPEC, **TINY)["prior"]
    keys = example_keys(jax.random.key(3), 3)
    z = jax.jit(method.encode)(weights, clips(), None, keys)
    drive = jax.jit(lambda noise: prior.apply({"params": params["prior"]}, noise, method="drive"))
    motion = drive(z["motion"])
    p = jax.jit(prior.apply)({"params": params["prior"]}, motion)
    np.testing.assert_allclose((motion - p.mu) / np.exp(0.5 * p.logvar), z["motion"], atol=1e-4)
    network = model.build(SPEC, **TINY)["encoder"]
    noise = jax.vmap(lambda key: jax.random.normal(video_vae.fold(key, "content"), (3,)))(keys)
    q = jax.jit(network.apply)({"params": params["encoder"]}, clips(), noise)[1]
    own = jax.vmap(lambda key: jax.random.normal(video_vae.fold(key, "motion"), (4, 2)))(keys)
    np.testing.assert_allclose(motion, q.mu + np.exp(0.5 * q.logvar) * own, rtol=1e-3, atol=1e-4)


def test_content_knows_no_order_and_motion_does(made):
    method, weights = made
    encode, order = jax.jit(method.encode), np.asarray([2, 0, 3, 1])
    one, other = (encode(weights, x, None, None) for x in (clips(), clips()[:, order]))
    np.testing.assert_allclose(one["content"], other["content"], atol=1e-5)
    assert np.abs(one["motion"][:, order] - other["motion"]).max() > 0.05


def test_longer_clips_begin_as_short_ones(made):
    method, weights = made
    longer, decode = method.abilities["longer"], jax.jit(method.decode)
    short, long = (longer(weights, jax.random.key(4), 3, None, TYPICAL, frames) for frames in (4, 11))
    drawn = method.draw(weights, jax.random.key(4), 3, None, TYPICAL)
    jax.tree.map(np.testing.assert_array_equal, drawn, short)
    assert long["motion"].shape == (3, 11, 2)
    x, y = (decode(weights, z, None, None) for z in (short, long))
    assert x.shape == (3, *SPEC.shape) and y.shape == (3, 11, *SPEC.shape[1:])
    np.testing.assert_allclose(x, y[:, :4], atol=1e-5)
    noise = np.asarray(longer(weights, jax.random.key(5), 500, None, TYPICAL, 6)["motion"])
    assert np.abs(np.corrcoef(noise.reshape(500, -1).T) - np.eye(12)).max() < 0.2  # each number on its own
    assert noise.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("conditional", [True, False])
def test_each_frame_may_have_a_content_of_its_own(conditional):
    method = method_of(conditional)
    weights, label = weights_of(method), jnp.asarray([0, 1, 1]) if conditional else None
    decode = jax.jit(lambda z: method.decode(weights, z, label, None))
    z = method.draw(weights, jax.random.key(4), 3, label, TYPICAL)
    contents = jax.random.normal(jax.random.key(9), (3, 4, TINY["content"]))
    x = decode({**z, "content": contents})
    for t in range(4):
        np.testing.assert_allclose(x[:, t], decode({**z, "content": contents[:, t]})[:, t], atol=1e-5)


def test_a_continuation_keeps_what_is_given_and_sees_nothing_else(made):
    method, weights = made
    proceed = jax.jit(method.abilities["proceed"], static_argnums=2)
    x = clips(frames=9)
    hidden = x.at[:, 3:].set(0.0)
    one, other = (proceed(weights, y, 3, jax.random.key(0)) for y in (x, hidden))
    np.testing.assert_array_equal(one, other)
    assert one.shape == x.shape
    np.testing.assert_array_equal(one[:, :3], x[:, :3])
    assert np.abs(one[:, 3:] - proceed(weights, x, 3, jax.random.key(1))[:, 3:]).max() > 1e-3
    likeliest = proceed(weights, x, 3, None)
    z = jax.jit(method.encode)(weights, x[:, :3], None, None)
    motion = jnp.pad(z["motion"], ((0, 0), (0, 6), (0, 0)))
    decoded = jax.jit(method.decode)(weights, {**z, "motion": motion}, None, None)
    np.testing.assert_allclose(likeliest[:, 3:], decoded[:, 3:], atol=1e-5)


def test_numbers_stay_finite_at_extremes(made, slope):
    method, weights = made
    own = weights.params["vae"]
    huge = {"vae": {**jax.tree.map(lambda p: 30.0 * p, own), "decoder": own["decoder"], "log_scale": own["log_scale"]}}
    x = jnp.where(clips() > 0, 1.0, -1.0)
    (loss, _), gradient = slope(huge["vae"], {}, {"vae": {"step": jnp.asarray(9)}}, {"x": x}, jax.random.key(0))
    assert np.isfinite(loss) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    far = {"content": jnp.full((3, 3), 1e4), "motion": jnp.full((3, 4, 2), -1e4)}
    decoded = jax.jit(method.decode)(Weights(huge, {}), far, None, None)
    assert np.isfinite(decoded).all() and np.abs(decoded).max() <= 1


def test_what_is_computed_again_is_the_same(made, slope):
    options = {"beta_content": 0.5, "beta_motion": 2.0, "kl_warmup_steps": 2}
    again, weights = method_of(remat=True, **options), made[1]
    shapes = jax.eval_shape(again.init, jax.random.key(0))[0]
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, dict(weights.params))
    arguments = weights.params["vae"], {}, {"vae": {"step": jnp.asarray(9)}}, {"x": clips()}, jax.random.key(0)
    found = [f(*arguments) for f in (slope, jax.jit(jax.value_and_grad(again.players[0].loss, has_aux=True)))]
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_a_conditional_one_sees_the_label_everywhere():
    method = method_of(conditional=True)
    weights, x = weights_of(method), clips()
    assert method.classes == SPEC.classes and "proceed" not in method.abilities
    labels = [jnp.full((3,), label, jnp.int32) for label in (0, 1)]
    encode, decode = jax.jit(method.encode), jax.jit(method.decode)
    z, other = (encode(weights, x, label, None) for label in labels)
    assert all((a != b).any() for a, b in zip(jax.tree.leaves(z), jax.tree.leaves(other), strict=True))
    one, two = (decode(weights, z, label, None) for label in labels)
    assert np.abs(one - two).max() > 1e-3


def test_options_out_of_range_are_refused():
    for name, value in (("beta_content", -1.0), ("beta_motion", -1.0), ("kl_warmup_steps", -1)):
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            method_of(**{name: value})
    with pytest.raises(UsageError, match="likelihood"):
        method_of(likelihood="poisson")


@pytest.mark.thorough
def test_it_learns_clips_by_heart():
    """Three still squares that go to the right, each with its own brightness."""
    x = np.full((6, *SPEC.shape), -1.0, np.float32)
    for i in range(6):
        for t in range(4):
            x[i, t, 3:6, t + i % 3 : t + i % 3 + 3] = 1.0 if i < 3 else 0.0
    networks = model.build(SPEC, **{**TINY, "width": 8, "hidden": 32, "recurrent": 16})
    method = video_vae.build(networks, SPEC, {"vae": optax.adam(5e-3)})
    params, extras = jax.jit(method.init)(jax.random.key(0))
    step, state = jax.jit(make_step(method.players)), create_state(method.players, params, extras)
    for _ in range(400):
        state, _ = step(state, {"x": jnp.asarray(x)})
    weights = Weights(state.params, {})
    z = jax.jit(method.encode)(weights, x, None, None)
    made = jax.jit(method.decode)(weights, z, None, None)
    assert np.mean((made - x) ** 2) < 0.02 < 0.1 * np.var(x)
