"""The VAE-GAN: who learns what from samples, reconstructions and features, against the losses by hand."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from small import noise_batch, small_networks

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.losses.selection import top_share
from genjax_art.models.precision import computing
from genjax_art.objectives import vae_gan
from genjax_art.objectives.method import Weights
from genjax_art.objectives.rules import Rules
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = ArraySpec((8, 8, 1), classes=("a", "b", "c"))
SGD = {name: optax.sgd(0.01) for name in ("discriminator", "generator")}
KEY = jax.random.key(0)
BATCH = jax.tree.map(jnp.asarray, noise_batch(SPEC, 6))
LATENTS = 5
D, G = 0, 1


def made(norm="none", conditional=True, **options):
    networks = small_networks(
        "vae_dcgan", SPEC, conditional=conditional, generator_norm=norm, latents=LATENTS, width=4, hidden=8
    )
    return vae_gan.build(networks, SPEC, SGD, **options), networks


def started(method):
    params, extras = jax.jit(method.init)(KEY)
    return params, extras


def loss_of(method, which, params, extras):
    return jax.jit(method.players[which].loss)(params[method.players[which].name], params, extras, BATCH, KEY)


def by_hand(networks, params):
    """q(z|x), and the discriminator's outputs for reals, samples and reconstructions, without augmentations."""
    x, label, own = BATCH["x"], BATCH["label"], params["generator"]
    mu, logvar = (np.asarray(a) for a in networks["encoder"].apply({"params": own["encoder"]}, x, label))
    noise = {name: np.asarray(jax.random.normal(fold(KEY, name), (6, LATENTS))) for name in ("latents", "posterior")}
    latents = {"sample": noise["latents"], "again": mu + np.exp(logvar / 2) * noise["posterior"]}
    shown = {
        name: networks["generator"].apply({"params": own["network"]}, jnp.asarray(z), label)
        for name, z in latents.items()
    }
    shown["real"] = x
    out = {
        name: networks["discriminator"].apply({"params": params["discriminator"]}, a, label)
        for name, a in shown.items()
    }
    logits = {name: np.asarray(found["logits"], np.float64) for name, found in out.items()}
    features = {name: np.asarray(found["features"], np.float64) for name, found in out.items()}
    return mu, logvar, shown, logits, features


def minus_log_sigmoid(x):
    return np.logaddexp(0, -x)


def test_both_players_pay_for_samples_and_reconstructions():
    """The discriminator for reals beside each kind of fakes; the generator for both, likeness of features and KL."""
    method, networks = made(likeness=0.3, beta=2.0)
    params, extras = started(method)
    mu, logvar, shown, logits, features = by_hand(networks, params)
    of_fakes = np.mean(minus_log_sigmoid(-logits["sample"]) + minus_log_sigmoid(-logits["again"]))
    loss, (metrics, _) = loss_of(method, D, params, extras)
    assert float(loss) == pytest.approx(2 * np.mean(minus_log_sigmoid(logits["real"])) + of_fakes, rel=1e-5)
    found = np.mean(1 / (1 + np.exp(-logits["again"])))
    assert float(metrics["reconstruction_probability"]) == pytest.approx(found, rel=1e-5)

    kl = np.mean(np.sum((np.exp(logvar) - 1 - logvar + mu**2) / 2, -1))
    distance = np.mean(np.sum((features["real"] - features["again"]) ** 2, -1) / 2)
    fooled = np.mean(minus_log_sigmoid(logits["sample"]) + minus_log_sigmoid(logits["again"]))
    loss, (metrics, _) = loss_of(method, G, params, extras)
    assert float(loss) == pytest.approx(fooled + 0.3 * (distance + 2.0 * kl), rel=1e-5)
    assert float(metrics["kl"]) == pytest.approx(kl, rel=1e-5)
    assert float(metrics["reconstruction"]) == pytest.approx(distance, rel=1e-4)
    error = np.mean((np.asarray(shown["again"]) - np.asarray(BATCH["x"])) ** 2)
    assert float(metrics["squared_error"]) == pytest.approx(error, rel=1e-5)


def test_of_both_kinds_of_fakes_the_best_are_learned_from():
    method, networks = made(likeness=0.0, rules=Rules(top_k=0.5))
    params, extras = started(method)
    logits = by_hand(networks, params)[3]
    expected = sum(
        np.mean(minus_log_sigmoid(logits[kind]) * np.asarray(top_share(jnp.asarray(logits[kind], jnp.float32), 0.5)))
        for kind in ("sample", "again")
    )
    assert float(loss_of(method, G, params, extras)[0]) == pytest.approx(expected, rel=1e-5)


def test_in_bfloat16_losses_stay_float32_and_near():
    networks = made()[1]
    methods = [
        vae_gan.build({role: computing(network, name) for role, network in networks.items()}, SPEC, SGD)
        for name in ("float32", "bfloat16")
    ]
    params, extras = started(methods[0])
    for which in (D, G):
        exact, narrow = (loss_of(method, which, params, extras)[0] for method in methods)
        assert narrow.dtype == jnp.float32 and float(narrow) != float(exact)
        assert float(narrow) == pytest.approx(float(exact), rel=0.05)


def slope(method, params, extras):
    return jax.jit(jax.grad(lambda own: method.players[G].loss(own, params, extras, BATCH, KEY)[0]))(
        params["generator"]
    )


def test_the_encoder_learns_from_likeness_and_kl_alone():
    """What fools the discriminator moves the decoder only, and the encoder's gradient is in proportion to gamma."""
    methods = {gamma: made(likeness=gamma)[0] for gamma in (0.0, 0.5, 1.0)}
    params, extras = started(methods[1.0])
    slopes = {gamma: slope(method, params, extras) for gamma, method in methods.items()}
    of = {gamma: jax.flatten_util.ravel_pytree(found["encoder"])[0] for gamma, found in slopes.items()}
    assert np.abs(of[0.0]).max() == 0 and np.abs(of[1.0]).max() > 1e-3
    np.testing.assert_allclose(2 * of[0.5], of[1.0], rtol=1e-5, atol=1e-8)
    assert np.abs(jax.flatten_util.ravel_pytree(slopes[0.0]["network"])[0]).max() > 1e-4


def test_the_encoders_slope_is_that_of_differences():
    method, _ = made(likeness=1.0)
    params, extras = started(method)
    own, unflatten = jax.flatten_util.ravel_pytree(params["generator"]["encoder"])
    along = jax.flatten_util.ravel_pytree(slope(method, params, extras)["encoder"])[0]
    norm = float(jnp.linalg.norm(along))

    def bound(t):
        moved = {**params["generator"], "encoder": unflatten(own + t * along / norm)}
        _, (metrics, _) = loss_of(method, G, {**params, "generator": moved}, extras)
        return float(metrics["reconstruction"] + metrics["kl"])

    assert (bound(1e-2) - bound(-1e-2)) / 2e-2 == pytest.approx(norm, rel=0.03)


def test_examples_are_encoded_and_decoded():
    """The mean without keys, else draws from q(z|x); what is decoded is what the generator makes of them."""
    method, networks = made(norm="conditional_batch")
    params, extras = started(method)
    weights = Weights(params, extras)
    x, label = BATCH["x"], BATCH["label"]
    q = method.abilities["posterior"](weights, x, label)
    np.testing.assert_array_equal(method.encode(weights, x, label, None), q.mu)
    keys = jax.random.split(KEY, 6)
    drawn = method.encode(weights, x, label, keys)
    noise = np.stack([jax.random.normal(key, (LATENTS,)) for key in keys])
    np.testing.assert_allclose(drawn, q.mu + np.exp(q.logvar / 2) * noise, rtol=1e-5)
    variables = {"params": params["generator"]["network"], "batch_stats": extras["generator"]["batch_stats"]["network"]}
    expected = networks["generator"].apply(variables, q.mu, label, train=False)
    np.testing.assert_allclose(method.decode(weights, q.mu, label, None), expected, rtol=1e-6)


@pytest.mark.parametrize("how", ["pmap", *thorough("mesh")])
def test_it_steps_alike_on_one_device_and_on_eight(how):
    rules = Rules(loss="relativistic", penalties={"r1": 0.1}, augmentations=("translation",))
    method, _ = made(norm="conditional_batch", rules=rules)
    found = {}
    for mode in ("jit", how):
        compiled = compile_step(make_step(method.players), mode)
        state = compiled.put_state(create_state(method.players, *jax.jit(method.init)(KEY)))
        found[mode] = jax.device_get(compiled.step(state, compiled.put_batch(noise_batch(SPEC, 8))))
    for a, b in zip(jax.tree.leaves(found["jit"]), jax.tree.leaves(found[how]), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("scale", [10.0, *thorough(0.0)])
def test_it_is_finite_at_extreme_weights(scale):
    method, _ = made()
    params, extras = started(method)
    params = jax.tree.map(lambda leaf: scale * leaf, params)
    for player in method.players:

        def loss(own, player=player):
            return player.loss(own, params, extras, BATCH, KEY)[0]

        value, found = jax.jit(jax.value_and_grad(loss))(params[player.name])
        assert np.isfinite(value) and np.isfinite(jax.flatten_util.ravel_pytree(found)[0]).all()


def test_what_it_cannot_do_without():
    networks = made()[1]
    with pytest.raises(UsageError, match="needs a model with an encoder"):
        vae_gan.build({name: networks[name] for name in ("generator", "discriminator")}, SPEC, SGD)
    with pytest.raises(UsageError, match="unknown adversarial loss 'foo'"):
        made(rules=Rules(loss="foo"))
    narrow = {**networks, "encoder": computing(networks["encoder"], "bfloat16")}
    with pytest.raises(UsageError, match="compute in one precision"):
        vae_gan.build(narrow, SPEC, SGD)
    with pytest.raises(UsageError, match="packs hold no single examples"):
        made(conditional=False, rules=Rules(packing=2))
