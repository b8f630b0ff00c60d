"""The loss of the music VAE: its numbers, its warm-up and its noise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_music_models import TINY, VOICES, rolls

from genjax_art.errors import UsageError
from genjax_art.latents import Spread, example_keys
from genjax_art.models import music_vae as model
from genjax_art.music import notes, tokens
from genjax_art.objectives import music_vae
from genjax_art.objectives.method import Weights
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = notes.roll_spec(2, VOICES)


def method_of(learning_rate=1e-3, widths=TINY, **options):
    networks = model.build(SPEC, decoder_layers=1, **widths)
    return music_vae.build(networks, SPEC, {"vae": optax.adam(learning_rate)}, **options)


def state_of(method):
    params, extras = jax.jit(method.init)(jax.random.key(0))  # in one piece, which compiles sooner
    return create_state(method.players, params, extras)


def batch_of(seed, n=3):
    return {"x": jnp.asarray(2 * rolls(seed, 2, n) - 1)}


def test_the_likelihood_is_that_of_each_token():
    logits = jax.random.normal(jax.random.key(0), (2, 3, 4, notes.TOKENS))
    drawn = jax.random.randint(jax.random.key(1), (2, 3, 4), 0, notes.TOKENS)
    p = np.asarray(jax.nn.softmax(logits, -1))
    expected = [sum(math.log(p[i, t, v, drawn[i, t, v]]) for t in range(3) for v in range(4)) for i in range(2)]
    np.testing.assert_allclose(music_vae.log_likelihood(logits, drawn), expected, rtol=1e-5)


def test_note_accuracy_counts_starts_only():
    true = jnp.asarray([[[3], [notes.HOLD], [4], [notes.REST]], [[notes.REST]] * 4])
    made = jnp.asarray([[[3], [9], [5], [9]], [[1]] * 4])
    np.testing.assert_allclose(music_vae.note_accuracy(made, true), [0.5, 1.0])


def test_the_weight_of_the_kl_rises_in_a_line_and_is_counted_in_steps():
    weights = [float(music_vae.kl_weight(jnp.asarray(s), 0.5, 4)) for s in (0, 1, 2, 4, 9)]
    np.testing.assert_allclose(weights, [0.0, 0.125, 0.25, 0.5, 0.5])
    assert float(music_vae.kl_weight(jnp.asarray(0), 0.5, 0)) == 0.5
    method = method_of(kl_warmup_steps=2, free_bits=0.0)
    step, state = jax.jit(make_step(method.players)), state_of(method)
    for weight in (0.0, 0.5, 1.0, 1.0):
        state, metrics = step(state, batch_of(0))
        assert float(metrics["vae/kl_weight"]) == weight
        expected = metrics["vae/reconstruction"] + weight * metrics["vae/kl"]
        np.testing.assert_allclose(metrics["vae/loss"], expected, rtol=1e-5)
        np.testing.assert_allclose(metrics["vae/elbo"], -metrics["vae/reconstruction"] - metrics["vae/kl"], rtol=1e-5)
        assert np.isfinite(metrics["vae/grad_norm"]) and metrics["vae/grad_norm"] > 0


def test_free_bits_are_bits_of_a_piece():
    method = method_of(free_bits=10.0)
    state = state_of(method)
    params = jax.device_get(state.params["vae"])
    dense = params["encoder"]["Dense_1"]  # mu: far from the prior, by the same KL for all
    dense["kernel"], dense["bias"] = np.zeros_like(dense["kernel"]), np.full_like(dense["bias"], 3.0)
    params["encoder"]["Dense_2"] = jax.tree.map(np.zeros_like, params["encoder"]["Dense_2"])
    params = jax.tree.map(jnp.asarray, params)
    loss, (metrics, _) = jax.jit(method.players[0].loss)(params, {}, state.extras, batch_of(0), jax.random.key(1))
    assert float(metrics["kl"]) == pytest.approx(5 * 4.5)
    assert float(loss - metrics["reconstruction"]) == pytest.approx(22.5 - 10 * math.log(2), rel=1e-3)


@pytest.mark.parametrize(
    ("option", "value"), [("beta", -1.0), ("free_bits", -1.0), ("kl_warmup_steps", -1), ("temperature", -0.5)]
)
def test_negative_options_are_refused(option, value):
    with pytest.raises(UsageError, match=option.replace("_", "-")):
        method_of(**{option: value})


def test_a_continued_piece_keeps_what_was_given(monkeypatch):
    monkeypatch.setattr(music_vae, "CLIMBS", 2)
    method = method_of()
    weights, x = Weights(state_of(method).params, {}), batch_of(0)["x"]
    made = jax.jit(method.abilities["proceed"], static_argnums=2)(weights, x, 20, jax.random.key(1))
    assert made.shape == x.shape
    np.testing.assert_array_equal(made[:, :20], x[:, :20])
    assert (made[:, 20:] != x[:, 20:]).any()
    assert set(np.unique(made)) <= {SPEC.low, SPEC.high}


def test_what_is_drawn_depends_on_the_key_of_each_piece_and_without_keys_it_is_the_likeliest():
    method = method_of(temperature=1.0)
    weights = Weights(state_of(method).params, {})
    decode = jax.jit(method.decode)
    z = method.draw(weights, jax.random.key(1), 3, None, Spread())
    keys = example_keys(jax.random.key(2), 3)
    drawn, likeliest = decode(weights, z, None, keys), decode(weights, z, None, None)
    assert (drawn != likeliest).any()
    np.testing.assert_array_equal(decode(weights, z[::-1], None, keys[::-1]), drawn[::-1])  # each has its own
    np.testing.assert_array_equal(jax.jit(method_of(temperature=0.0).decode)(weights, z, None, keys), likeliest)
    same = decode(weights, jnp.repeat(z[:1], 3, 0), None, keys)
    assert (same[0] != same[1]).any()


@pytest.mark.thorough
def test_it_learns_pieces_by_heart():
    """Then teacher forcing names their tokens, and free running from the encoder's mean plays them."""
    widths = {**TINY, "latents": 8, "embedding": 24, "encoder_width": 24, "conductor_width": 24, "decoder_width": 48}
    method = method_of(1e-2, widths, free_bits=40.0)
    batch = batch_of(3)
    step, state = jax.jit(make_step(method.players)), state_of(method)
    state, first = step(state, batch)
    for _ in range(120):
        state, metrics = step(state, batch)
    assert metrics["vae/reconstruction"] < 0.05 * first["vae/reconstruction"]
    assert metrics["vae/note_accuracy"] > 0.95 > first["vae/note_accuracy"]
    weights = Weights(state.params, {})
    mu = jax.jit(method.encode)(weights, batch["x"], None, None)
    made = jax.jit(method.decode)(weights, mu, None, None)
    true = tokens.tokens_from_roll((batch["x"] + 1.0) / 2.0)
    assert float(jnp.mean(tokens.tokens_from_roll((made + 1.0) / 2.0) == true)) > 0.95
