"""The importance weighted bound on a model whose log p(x) is known: z ~ N(0, I), x = W z + noise."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.keys import fold
from genjax_art.objectives import iwae, vae
from genjax_art.spec import ArraySpec

SPEC = ArraySpec((2,), -1.0, 1.0, "points")  # outputs of a Gaussian decoder are means in this range
KEY = jax.random.key(0)
W = np.diag([0.8, -0.5])  # diagonal, so that the exact posterior is a diagonal Gaussian, too
NOISE = 0.6  # standard deviation of x given z
X = np.array([0.7, -0.4])
EXACT = (W @ X / (np.diag(W) ** 2 + NOISE**2), np.log(NOISE**2 / (np.diag(W) ** 2 + NOISE**2)))
PRIOR = (np.zeros(2), np.zeros(2))


class FixedEncoder(nn.Module):
    """The same q(z|x) for every x: its mean and its log-variance are parameters."""

    @nn.compact
    def __call__(self, x, label=None, train=True):
        mu, logvar = (self.param(name, nn.initializers.zeros, (1, 2)) for name in ("mu", "logvar"))
        return jnp.broadcast_to(mu, x.shape), jnp.broadcast_to(logvar, x.shape)


class LinearDecoder(nn.Module):
    latents: int = 2
    classes: int = 0

    @nn.compact
    def __call__(self, z, label=None, train=True):
        return z @ self.param("W", nn.initializers.zeros, (2, 2))


def log_p_x():
    """Of X: it is normal with variance W W^T + NOISE^2, which is diagonal."""
    variance = np.diag(W) ** 2 + NOISE**2
    return float(np.sum(-0.5 * X**2 / variance - 0.5 * np.log(2 * math.pi * variance)))


def metrics_of(objective, posterior, rows, **options):
    """The metrics of a batch of `rows` times X: means over as many draws."""
    networks = {"encoder": FixedEncoder(), "decoder": LinearDecoder()}
    method = objective.build(networks, SPEC, {"vae": optax.sgd(0.1)}, likelihood="gaussian", **options)
    (player,), (_, extras) = method.players, jax.jit(method.init)(KEY)
    mu, logvar = (jnp.asarray(a, jnp.float32)[None] for a in posterior)
    own = {
        "encoder": {"mu": mu, "logvar": logvar},
        "decoder": {"W": jnp.asarray(W.T, jnp.float32)},
        "log_scale": jnp.float32(math.log(NOISE)),
    }
    batch = {"x": jnp.tile(jnp.asarray(X, jnp.float32)[None], (rows, 1))}
    loss, (metrics, _) = jax.jit(lambda own: player.loss(own, {}, extras, batch, KEY))(own)
    return {"loss": float(loss), **{name: float(value) for name, value in metrics.items()}}


def test_with_one_sample_it_is_the_bound_of_the_vae_in_which_the_kl_is_sampled_too():
    rows, q = 64, (np.array([0.3, -0.2]), np.array([-0.5, 0.4]))
    of_vae, of_iwae = metrics_of(vae, q, rows), metrics_of(iwae, q, rows, samples=1)
    noise = np.asarray(jax.random.normal(fold(KEY, "posterior"), (rows, 2)), np.float64)  # the same in both
    z = q[0] + np.exp(q[1] / 2) * noise
    sampled_kl = 0.5 * np.sum(z**2 - noise**2 - q[1], -1).mean()  # log q(z|x) - log p(z)
    assert of_iwae["bound"] == pytest.approx(-of_vae["reconstruction"] - sampled_kl, rel=1e-5)
    assert of_iwae["loss"] == -of_iwae["bound"]


def test_with_one_sample_it_has_the_expectation_of_the_vaes_bound():
    rows, q = 100_000, (np.array([0.3, -0.2]), np.array([-0.5, 0.4]))
    assert metrics_of(iwae, q, rows, samples=1)["bound"] == pytest.approx(metrics_of(vae, q, rows)["elbo"], abs=0.02)


def test_it_rises_with_the_samples_to_the_likelihood_of_the_data():
    found = {k: metrics_of(iwae, PRIOR, 4000, samples=k)["bound"] for k in (1, 5, 50, 500)}
    assert sorted(found.values()) == list(found.values())
    assert found[1] < log_p_x() - 0.3 and found[500] == pytest.approx(log_p_x(), abs=0.01)


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_sample_gives_the_likelihood(samples):
    assert metrics_of(iwae, EXACT, 3, samples=samples)["bound"] == pytest.approx(log_p_x(), abs=1e-4)
    assert metrics_of(vae, EXACT, 100_000)["elbo"] == pytest.approx(log_p_x(), abs=0.02)
