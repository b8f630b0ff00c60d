"""The objectives as players: what each minimises, and a test for every slip of the case study that they come from."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.objectives import gan, vae
from genjax_art.objectives.method import Weights
from genjax_art.objectives.rules import Rules
from genjax_art.spec import ArraySpec
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = ArraySpec((2,), -1.0, 1.0, "points", bounded=False)
SGD = {name: optax.sgd(0.1) for name in ("generator", "discriminator", "vae")}
KEY = jax.random.key(0)


class ToyGenerator(nn.Module):
    """G(z) = shift + 0.1 z: pictures around `shift`, away from the noise around 0."""

    latents: int = 2
    classes: int = 0

    @nn.compact
    def __call__(self, z, label=None, train=True):
        return self.param("shift", nn.initializers.constant(2.0), (1, 2)) + 0.1 * z


class ToyDiscriminator(nn.Module):
    """D's logit is w * (sum of x) - b."""

    @nn.compact
    def __call__(self, x, label=None, train=True):
        w = self.param("w", nn.initializers.constant(0.3), ())
        b = self.param("b", nn.initializers.constant(0.1), ())
        return {"logits": w * jnp.sum(x, -1) - b, "features": x}


NETWORKS = {"generator": ToyGenerator(), "discriminator": ToyDiscriminator()}
REAL = np.random.default_rng(0).normal(-1, 0.5, (16, 2)).astype(np.float32)
BATCH = {"x": jnp.asarray(REAL)}


def toy_gan(loss="minimax", **options):
    method = gan.build(NETWORKS, SPEC, SGD, rules=Rules(loss=loss, **options))
    return method, *jax.jit(method.init)(KEY)


def loss_of(method, player, params, extras, key=KEY):
    found = next(p for p in method.players if p.name == player)
    others = {name: value for name, value in params.items() if name != player}
    value, (metrics, _) = found.loss(params[player], others, extras, BATCH, key)
    return float(value), {name: float(metric) for name, metric in metrics.items()}


def log_d(x, params):
    """log D and log(1 - D) in float64, by hand."""
    w, b = (np.float64(params["discriminator"][name]) for name in ("w", "b"))
    logit = w * np.float64(x).sum(-1) - b
    return -np.log1p(np.exp(-logit)), -np.log1p(np.exp(logit))


def fakes(params, key=KEY):
    z = jax.random.normal(fold(key, "latents"), (16, 2))
    return np.asarray(params["generator"]["shift"] + 0.1 * z), np.asarray(z)


def test_the_discriminator_is_shown_generated_pictures_with_the_right_sign():
    """D minimises -E[log D(x)] - E[log(1 - D(G(z)))].

    The case study shows it z instead of G(z), and prints log D(G(z)) where log(1 - D(G(z))) is meant.
    """
    method, params, extras = toy_gan()
    made, z = fakes(params)
    loss, metrics = loss_of(method, "discriminator", params, extras)
    right = -np.mean(log_d(REAL, params)[0]) - np.mean(log_d(made, params)[1])
    on_noise = -np.mean(log_d(REAL, params)[0]) - np.mean(log_d(z, params)[1])
    wrong_sign = -np.mean(log_d(REAL, params)[0]) - np.mean(log_d(made, params)[0])
    assert loss == pytest.approx(right, rel=1e-5)
    assert abs(loss - on_noise) > 0.3 and abs(loss - wrong_sign) > 0.3
    assert metrics["real_probability"] == pytest.approx(np.exp(log_d(REAL, params)[0]).mean(), rel=1e-5)
    assert metrics["fake_probability"] == pytest.approx(np.exp(log_d(made, params)[0]).mean(), rel=1e-5)


def test_the_generator_minimises_its_half():
    """G minimises E[log(1 - D(G(z)))], or -E[log D(G(z))] in the non-saturating form."""
    for loss, expected in {
        "minimax": lambda made, params: np.mean(log_d(made, params)[1]),
        "non_saturating": lambda made, params: -np.mean(log_d(made, params)[0]),
    }.items():
        method, params, extras = toy_gan(loss)
        made, _ = fakes(params)
        assert loss_of(method, "generator", params, extras)[0] == pytest.approx(expected(made, params), rel=1e-5)


@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_every_game_moves_the_fakes_towards_the_real(loss):
    """The discriminator learns to tell them apart, and the generator then moves to where it takes fakes for real."""
    method, params, extras = toy_gan(loss)
    step = jax.jit(make_step(method.players))
    state = create_state(method.players, params, extras)
    for _ in range(15):
        state, _ = step(state, BATCH)
    w = float(state.params["discriminator"]["w"])
    shift = np.asarray(state.params["generator"]["shift"])
    assert w < 0.3  # the real ones lie at smaller x: D(x) must fall with x
    assert (np.sign(shift - 2.0) == np.sign(w)).all()  # G climbs D


def test_both_updates_see_the_same_latents_only_if_shared():
    shared, separate = toy_gan(shared_latents=True)[0], toy_gan(shared_latents=False)[0]
    assert len({player.stream for player in shared.players}) == 1 and shared.players[0].stream is not None
    assert [player.stream for player in separate.players] == [None, None]


def test_repeats_are_the_discriminators():
    method = toy_gan(discriminator_repeats=3)[0]
    assert [(player.name, player.repeats) for player in method.players] == [("discriminator", 3), ("generator", 1)]


class NormDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, x, label=None, train=True):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.0)(x)
        return {"logits": jnp.sum(h, -1) * self.param("w", nn.initializers.ones, ()), "features": h}


def test_real_and_fake_have_batch_statistics_of_their_own():
    """Together the sign alone would distinguish them; apart each has mean 0."""
    networks = {**NETWORKS, "discriminator": NormDiscriminator()}
    method = gan.build(networks, SPEC, SGD, rules=Rules(loss="wasserstein"))
    params, extras = jax.jit(method.init)(KEY)
    assert loss_of(method, "discriminator", params, extras)[0] == pytest.approx(0.0, abs=1e-4)
    others = {"generator": params["generator"]}
    _, (_, after) = method.players[0].loss(params["discriminator"], others, extras, BATCH, KEY)
    mean = after["discriminator"]["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, fakes(params)[0].mean(0), rtol=1e-4)  # momentum 0: the last call's
    others = {"discriminator": params["discriminator"]}
    _, (_, after) = method.players[1].loss(params["generator"], others, extras, BATCH, KEY)
    before = extras["discriminator"]["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_array_equal(after["discriminator"]["batch_stats"]["BatchNorm_0"]["mean"], before)  # G leaves D


# The variational autoencoder.

IMAGE = ArraySpec((2,), 0.0, 1.0, "points", bounded=False)


class ToyEncoder(nn.Module):
    @nn.compact
    def __call__(self, x, label=None, train=True):
        mu = jnp.stack([x[:, 0], 2.0 + 0.0 * x[:, 1]], -1) + self.param("shift", nn.initializers.zeros, (1, 2))
        return mu, jnp.full_like(mu, -60.0) + jnp.asarray([[0.0, 60.0]])  # the first without noise, the second with


class ToyDecoder(nn.Module):
    latents: int = 2
    classes: int = 0

    @nn.compact
    def __call__(self, z, label=None, train=True):
        return z + self.param("shift", nn.initializers.zeros, (1, 2))


X = np.random.default_rng(1).uniform(0.1, 0.9, (8, 2)).astype(np.float32)


def toy_vae(**options):
    method = vae.build({"encoder": ToyEncoder(), "decoder": ToyDecoder()}, IMAGE, SGD, **options)
    params, extras = jax.jit(method.init)(KEY)
    value, (metrics, _) = method.players[0].loss(params["vae"], {}, extras, {"x": jnp.asarray(X)}, KEY)
    return float(value), {name: float(metric) for name, metric in metrics.items()}, params["vae"]


def by_hand():
    """-E[log p(x|z)] and the KL of both latent numbers, Bernoulli likelihood, in float64.

    Kingma & Welling 2014, appendix B: KL = (mu^2 + sigma^2 - 1 - log sigma^2) / 2.
    """
    noise = np.asarray(jax.random.normal(fold(KEY, "posterior"), (8, 2)), np.float64)
    mu = np.stack([X[:, 0], np.full(8, 2.0)], -1).astype(np.float64)
    logvar = np.array([-60.0, 0.0])
    z = mu + np.exp(logvar / 2) * noise
    p = 1 / (1 + np.exp(-z))
    log_likelihood = (X * np.log(p) + (1 - X) * np.log(1 - p)).sum(-1)
    return -log_likelihood.mean(), ((mu**2 + np.exp(logvar) - 1 - logvar) / 2).mean(0)


def test_the_loss_is_reconstruction_plus_kl():
    """The case study has the wrong sign on the likelihood, and a KL that is not between posterior and prior."""
    reconstruction, kl = by_hand()
    loss, metrics, _ = toy_vae()
    assert loss == pytest.approx(reconstruction + kl.sum(), rel=1e-5)
    assert reconstruction > 0.5 and kl.min() > 1  # so that a wrong sign would be seen
    assert metrics == pytest.approx(
        {"elbo": -(reconstruction + kl.sum()), "reconstruction": reconstruction, "kl": kl.sum()}, rel=1e-5
    )


def test_beta_weighs_the_kl_and_not_the_bound():
    reconstruction, kl = by_hand()
    loss, metrics, _ = toy_vae(beta=4.0)
    assert loss == pytest.approx(reconstruction + 4 * kl.sum(), rel=1e-5)
    assert metrics["elbo"] == pytest.approx(-(reconstruction + kl.sum()), rel=1e-5)


def test_free_bits_are_paid_for_each_latent_number():
    reconstruction, kl = by_hand()
    assert kl[1] == pytest.approx(2.0)  # mu = 2, sigma = 1
    loss, metrics, _ = toy_vae(minimum_kl=5.0)
    assert loss == pytest.approx(reconstruction + kl[0] + 5.0, rel=1e-5)  # the first has more than that anyway
    assert metrics["kl"] == pytest.approx(kl.sum(), rel=1e-5)


def test_likelihoods_with_a_scale_learn_it():
    assert "log_scale" not in toy_vae()[2]
    for likelihood in ("gaussian", "discretized_logistic"):
        assert float(toy_vae(likelihood=likelihood)[2]["log_scale"]) == 0.0


def test_samples_are_means_of_the_likelihood():
    method = vae.build({"encoder": ToyEncoder(), "decoder": ToyDecoder()}, IMAGE, SGD)
    params, extras = jax.jit(method.init)(KEY)
    z = jnp.asarray([[0.0, 100.0], [-100.0, 1.0]])
    expected = [[0.5, 1.0], [0.0, 1 / (1 + np.exp(-1))]]
    np.testing.assert_allclose(method.decode(Weights(params, extras), z, None, None), expected, atol=1e-6)
