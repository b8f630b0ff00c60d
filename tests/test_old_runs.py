"""Run folders that version 1 wrote still load, and draw the arrays that it drew."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from genjax_art import load_run
from genjax_art.keys import fold
from genjax_art.models import music_vae
from genjax_art.music.tokens import in_range, roll_from_tokens

RUNS = ROOT.parent / "shared" / "fixtures" / "runs_v1"
pytestmark = pytest.mark.skipif(not RUNS.is_dir(), reason="no runs of version 1 beside this checkout")


def drawn_then(name):
    with np.load(RUNS / f"{name}.npz") as arrays:
        return arrays["x"], arrays.get("label")


@pytest.mark.parametrize("name", ["dcgan-small", "conv-vae", "ring8", "can-art"])
def test_they_draw_the_same_arrays(name):
    run = load_run(RUNS / name)
    x, label = drawn_then(name)
    np.testing.assert_allclose(run.sample(4, seed=1), x, atol=1e-4)
    if label is not None:
        np.testing.assert_array_equal(run.labels(4, seed=1), label)


def test_music_is_drawn_with_a_key_now_and_its_decoder_is_the_same():
    """Then, what the decoder draws was a function of z, by directions in latent space: with that, the same music."""
    run = load_run(RUNS / "music-vae-small")
    x, _ = drawn_then("music-vae-small")
    n, steps, voices = len(x), run.spec.shape[0], run.spec.channels // 2
    z = jnp.asarray(run.draw(fold(jax.random.key(1), "latents"), n))
    directions = jax.random.normal(jax.random.key(0), (z.shape[-1], steps * voices))
    directions = directions / jnp.linalg.norm(directions, axis=0, keepdims=True)
    levels = jax.scipy.stats.norm.cdf(z @ directions).reshape(n, steps, voices)
    decoder = music_vae.build(run.spec, **run.experiment.model.options)["decoder"]
    parameters = {"params": run.weights.params["vae"]["decoder"]}
    none, known = jnp.zeros((n, steps, voices), jnp.int32), jnp.zeros(steps, bool)
    decode = jax.jit(functools.partial(decoder.apply, method="decode"), static_argnums=5)
    tokens = decode(parameters, z, levels, none, known, 1.0)
    as_roll = jax.jit(lambda tokens: in_range(roll_from_tokens(tokens), run.spec))
    np.testing.assert_array_equal(as_roll(tokens), x)
    assert run.sample(n, seed=1).shape == x.shape
    likeliest = decode(parameters, z, levels, none, known, 0.0)
    np.testing.assert_array_equal(run.decode(z), as_roll(likeliest))
