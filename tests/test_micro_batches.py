"""Gradient accumulation: the numbers of one batch in the memory of a part of it, and what sees only that part."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from small import gan_experiment, noise_batch, vae_experiment

from genjax_art.build import build_plan
from genjax_art.config import Component, Optimizer, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.music.notes import roll_spec
from genjax_art.run.training import compile_plan, initial_state
from genjax_art.shards import global_draw, micro_batch, micro_batches
from genjax_art.spec import ArraySpec
from genjax_art.train.player import Player
from genjax_art.train.state import create_state
from genjax_art.train.step import batches_per_step, make_step

GREY = ArraySpec((8, 8, 1), classes=("a", "b", "c"))
ROWS = 64


def changed(experiment, model, objective, **rules):
    """With SGD: Adam makes whole steps of gradients that are nothing but rounding."""
    return dataclasses.replace(
        experiment,
        model=model,
        objective=Component(objective, rules),
        optimizers={name: Optimizer(0.02, Component("sgd")) for name in experiment.optimizers},
    )


MLP = Component("mlp", {"width": 8, "latents": 4})
GAN = {
    "non-saturating, R1, conditional": changed(
        gan_experiment(), Component("mlp", {**MLP.options, "conditional": True}), "gan", penalties={"r1": 1.0}
    ),
    "relativistic, two updates": changed(gan_experiment(), MLP, "gan", loss="relativistic", discriminator_repeats=2),
    "wgan-gp in packs": changed(
        gan_experiment(), MLP, "gan", loss="wasserstein", penalties={"wgan_gp": 1.0}, packing=2
    ),
    "spectral, augmented, adaptive, lecam, deviation": changed(
        gan_experiment(),
        Component(
            "dcgan",
            {"width": 4, "latents": 4, "kernel": 3, "discriminator_norm": "spectral", "minibatch_deviation": 4},
        ),
        "gan",
        augmentations=("translation",),
        augmentation_policy="adaptive",
        penalties={"lecam": 0.3, "r1": 0.1},
        lazy=2,
    ),
}
VAE = {
    "vae": changed(vae_experiment(), Component("mlp_vae", {"width": 8, "latents": 3}), "vae"),
    "iwae": changed(vae_experiment(), Component("mlp_vae", {"width": 8, "latents": 3}), "iwae", samples=3),
    "music vae": changed(
        vae_experiment(),
        Component(
            "music_vae",
            {
                "latents": 4,
                "embedding": 4,
                "encoder_width": 4,
                "conductor_width": 4,
                "decoder_width": 4,
                "decoder_layers": 1,
                "head_width": 4,
            },
        ),
        "music_vae",
        kl_warmup_steps=5,
        free_bits=0.0,
    ),
}
EXPERIMENTS = {**GAN, **VAE}
BATCH_NORM = changed(
    gan_experiment(),
    Component("dcgan", {"width": 4, "latents": 4, "kernel": 3, "generator_norm": "batch"}),
    "gan",
)


def trained(experiment, count, how="jit", steps=2):
    """State and last metrics after `steps` steps."""
    spec = roll_spec(1, 2) if experiment.model.name == "music_vae" else GREY
    plan = build_plan(with_run(experiment, batch_size=ROWS, micro_batches=count), spec)
    compiled = compile_plan(plan, how)
    state = compiled.put_state(initial_state(plan))
    for n in range(steps):
        batch = noise_batch(spec, ROWS * batches_per_step(plan.method.players), seed=n)
        state, metrics = compiled.step(state, compiled.put_batch(batch))
    return jax.device_get((state, metrics))


def assert_same(one, other, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=jax.tree_util.keystr(path))


RARE = ("music vae", "iwae", "wgan-gp in packs", "spectral, augmented, adaptive, lecam, deviation")


@pytest.mark.parametrize("name", [*(name for name in EXPERIMENTS if name not in RARE), *thorough(*RARE)])
def test_micro_batches_make_the_update_of_one_batch(name):
    """Parameters, and what is carried along: spectral vectors, memories of judges, counts of updates."""
    steps = 4 if "adaptive" in name else 2  # the probability is adapted at every fourth update
    (whole, metrics), (parts, found) = (trained(EXPERIMENTS[name], count, steps=steps) for count in (1, 4))
    assert_same(whole, parts)
    assert metrics.keys() == found.keys()
    for metric in metrics:
        if metric.rpartition("/")[2] not in ("feature_spread", "duplicates"):  # of a micro-batch
            np.testing.assert_allclose(found[metric], metrics[metric], 1e-4, 1e-6, err_msg=metric)


@pytest.mark.parametrize(
    ("name", "how"), [("wgan-gp in packs", "pmap"), *thorough(("wgan-gp in packs", "mesh"), ("batch norm", "pmap"))]
)
def test_devices_and_micro_batches_go_together(name, how):
    """A micro-batch has the same rows in every mode, so batch statistics are the same, too."""
    experiment = {**GAN, "batch norm": BATCH_NORM}[name]
    assert_same(trained(experiment, 2), trained(experiment, 2, how), 1e-4, 1e-5)


def test_seeds_and_micro_batches_go_together():
    experiment = with_run(VAE["vae"], seeds=2, batch_size=8, micro_batches=2)
    plan = build_plan(experiment, GREY)
    batches = [noise_batch(GREY, 8, seed=n) for n in range(2)]
    both, _ = compile_plan(plan, None).step(
        initial_state(plan), {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    )
    for i, batch in enumerate(batches):
        single = build_plan(with_run(experiment, seeds=1, seed=i), GREY)
        one, _ = compile_plan(single, "jit").step(initial_state(single), batch)
        assert_same(plan.seeds.member(both, i), one)


def test_rows_are_dealt_out_in_blocks_of_four():
    dealt = micro_batches(jnp.arange(16), 2)
    np.testing.assert_array_equal(dealt, [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]])
    np.testing.assert_array_equal(micro_batches(jnp.arange(12), 2), [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]])
    np.testing.assert_array_equal(micro_batches(jnp.arange(6), 2), [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(micro_batches(jnp.arange(6), 1), [jnp.arange(6)])


def test_draws_are_those_of_the_whole_batch():
    """Of examples, and of packs of two."""
    key, every = jax.random.key(0), jnp.arange(4)

    def drawn(index, rows):
        with micro_batch(index, 4, 8):
            return global_draw(jax.random.normal, key, (rows, 3))

    own = jax.jit(lambda: jax.lax.map(lambda index: drawn(index, 8), every))()
    np.testing.assert_allclose(own, micro_batches(jax.random.normal(key, (32, 3)), 4), rtol=1e-6)
    packs = jax.lax.map(lambda index: drawn(index, 4), every)
    members = micro_batches(jnp.repeat(jax.random.normal(key, (16, 3)), 2, 0), 4)
    np.testing.assert_allclose(jnp.repeat(packs, 2, 1), members, rtol=1e-6)
    assert global_draw(jax.random.normal, key, (8, 3)).shape == (8, 3)  # the binding has ended


def test_extras_are_means_and_counts_the_last():
    """Each micro-batch starts from the extras before the update."""

    def loss(own, others, extras, batch, key):
        del others, key
        mean = jnp.mean(batch["x"])
        before = extras["a"]
        after = {"average": 0.9 * before["average"] + 0.1 * mean, "updates": before["updates"] + 1}
        return 0.5 * (own["w"] - mean) ** 2, ({"mean": mean}, {"a": after})

    player = Player("a", loss, optax.sgd(1.0))
    extras = {"a": {"average": jnp.float32(10), "updates": jnp.int32(3)}}
    state = create_state((player,), {"a": {"w": jnp.float32(1)}}, extras)
    state, metrics = jax.jit(make_step((player,), micro_batches=2))(state, {"x": jnp.asarray([1.0, 2.0, 3.0, 6.0])})
    assert float(state.params["a"]["w"]) == 3.0  # the mean of all
    assert float(state.extras["a"]["average"]) == pytest.approx(9.3)
    assert int(state.extras["a"]["updates"]) == 4
    assert float(metrics["a/mean"]) == 3.0
    assert float(metrics["a/loss"]) == pytest.approx(np.mean([0.5 * (1 - 1.5) ** 2, 0.5 * (1 - 4.5) ** 2]))
    _, metrics = make_step((player,), micro_batches=2)(state, {"x": jnp.asarray([1.0, 2.0, jnp.inf, 6.0])})
    assert float(metrics["finite"]) == 0.0


def test_batch_norm_sees_one_micro_batch():
    """Not the numbers of one batch: each part is normalised by its own statistics; running means are the same."""
    (whole, _), (parts, _) = (trained(BATCH_NORM, count, steps=1) for count in (1, 4))
    norms = [state.extras["generator"]["batch_stats"]["BatchNorm_0"] for state in (whole, parts)]
    np.testing.assert_allclose(norms[1]["mean"], norms[0]["mean"], 1e-4, 1e-6)  # below it nothing is normalised
    assert np.all(norms[1]["var"] < norms[0]["var"])  # within the parts, not between them
    kernels = [state.params["generator"]["Dense_0"]["kernel"] for state in (whole, parts)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-5


def test_a_micro_batch_takes_less_memory():
    plan = build_plan(with_run(gan_experiment(width=32), batch_size=ROWS), GREY)
    state, batch = initial_state(plan), noise_batch(GREY, ROWS)
    sizes = []
    for count in (1, 4):
        step = jax.jit(make_step(plan.method.players, ema=plan.ema, micro_batches=count))
        sizes.append(step.lower(state, batch).compile().memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 0.5 * sizes[0]


def test_batches_that_cannot_be_cut_are_refused_before_training():
    with pytest.raises(RunError, match="--batch-size 10 is not a multiple of --micro-batches 4"):
        compile_plan(build_plan(with_run(vae_experiment(), batch_size=10, micro_batches=4), GREY), "jit")
    sixteen = build_plan(with_run(vae_experiment(), batch_size=16, micro_batches=4), GREY)
    with pytest.raises(RunError, match="--batch-size 16, 2 on each of 8 devices, is not a multiple of --micro-ba"):
        compile_plan(sixteen, "pmap")
    with pytest.raises(RunError, match="--batch-size 16, 2 on each of 8 devices, is not a multiple of --micro-ba"):
        compile_plan(sixteen, "mesh")
    with pytest.raises(UsageError, match="--micro-batches must be at least 1, got 0"):
        build_plan(with_run(vae_experiment(), micro_batches=0), GREY)
    step = make_step(sixteen.method.players, micro_batches=3)
    with pytest.raises(ValueError, match="not a multiple of 3 micro-batches"):
        step(initial_state(sixteen), jax.tree.map(jnp.asarray, noise_batch(GREY, 16)))
