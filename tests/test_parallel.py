"""One device, eight under pmap, a mesh of eight: the same training. And what they refuse."""

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from jax.sharding import Mesh
from small import gan_experiment, noise_batch, vae_experiment, video_gan_experiment

from genjax_art.build import build_plan
from genjax_art.config import Component, Optimizer
from genjax_art.run.training import initial_state
from genjax_art.shards import DEVICE_AXIS
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step, lower
from genjax_art.train.player import Player
from genjax_art.train.process import CACHE_VARIABLE, prepare_process
from genjax_art.train.state import create_state
from genjax_art.train.step import batches_per_step, make_step

GREY = ArraySpec((12, 10, 1), classes=("a", "b", "c"))
CLIP = ArraySpec((4, 8, 8, 1), kind="clip", classes=GREY.classes)


def with_objective(experiment, **options):
    objective = Component(experiment.objective.name, {**experiment.objective.options, **options})
    return dataclasses.replace(experiment, objective=objective)


EXPERIMENTS = {
    # batch statistics of the real, the generated and the generator's own batch
    "gan with BatchNorm": gan_experiment(generator_norm="batch", discriminator_norm="batch", conditional=True),
    # several batches a step, and a loss with a mean inside; it does not determine the last bias, which Adam would
    # walk at random: so SGD
    "gan without, two updates": dataclasses.replace(
        with_objective(gan_experiment("relativistic_average"), discriminator_repeats=2, shared_latents=False),
        model=Component("mlp", {"width": 8, "latents": 4}),
        optimizers={name: Optimizer(0.05, Component("sgd")) for name in ("discriminator", "generator")},
    ),
    # a learnt scale, and again a mean inside
    "vae": dataclasses.replace(
        vae_experiment(likelihood="discretized_logistic", minimum_kl=0.1),
        model=Component("mlp_vae", {"width": 8, "latents": 3, "conditional": True}),
    ),
    # two judges, one of frames that are drawn; convolutions of three axes; batch statistics of all frames
    "clips": dataclasses.replace(
        video_gan_experiment(conditional=True), objective=Component("video_gan", {"frames_judged": 2})
    ),
    # clips in layers: of a GAN, and of a VAE, which finds them by attention; its slopes are so steep that Adam would
    # make steps of rounding where a gradient is next to nothing: so SGD
    "layers of a GAN": dataclasses.replace(
        video_gan_experiment(conditional=True),
        model=Component("layers_gan", {"content": 3, "motion": 2, "state": 4, "width": 4, "conditional": True}),
    ),
    "layers of a VAE": dataclasses.replace(
        vae_experiment(),
        model=Component("layers_vae", {"content": 3, "width": 4, "hidden": 8, "recurrent": 6}),
        objective=Component("video_vae", {"likelihood": "bernoulli"}),
        optimizers={"vae": Optimizer(0.0008, Component("sgd"))},
    ),
}
SPECS = {
    **dict.fromkeys(("clips", "layers of a GAN"), CLIP),
    # fresh layers lie between pixels there: where they lie on them, slopes of their places jump
    "layers of a VAE": ArraySpec((4, 9, 7, 1), kind="clip"),
}  # else GREY


@functools.cache
def plan_and_start(name):
    plan = build_plan(EXPERIMENTS[name], SPECS.get(name, GREY))
    return plan, jax.device_get(initial_state(plan))


def trained(name, how, *, mesh=None, steps=5):
    """State and last metrics after `steps` steps on batches of 16 (times the repeats)."""
    plan, start = plan_and_start(name)
    compiled = compile_step(make_step(plan.method.players, ema=plan.ema), how, mesh=mesh)
    state = compiled.put_state(start)
    for n in range(steps):
        batch = compiled.put_batch(noise_batch(plan.spec, 16 * batches_per_step(plan.method.players), seed=n))
        if how == "pmap":
            assert batch["x"].shape[0] == 8  # each device has its own rows
        state, metrics = compiled.step(state, batch)
    devices = {"jit": 1, "pmap": 8, "mesh": 8 if mesh is None else mesh.size}[how]
    assert all(len(x.sharding.device_set) == devices and x.is_fully_replicated for x in jax.tree.leaves(state))
    return jax.device_get((state, metrics))


def assert_same(expected, actual, tolerance=1e-5):
    (state, metrics), (other, other_metrics) = expected, actual
    for part in ("step", "seed", "params", "extras", "ema"):
        assert jax.tree.structure(getattr(state, part)) == jax.tree.structure(getattr(other, part))
        for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(state, part)):
            twin = dict(jax.tree_util.tree_leaves_with_path(getattr(other, part)))[path]
            name = part + jax.tree_util.keystr(path)
            assert leaf.shape == twin.shape, name  # no device axis
            np.testing.assert_allclose(leaf, twin, rtol=0, atol=tolerance, err_msg=name)
    assert metrics.keys() == other_metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(value, other_metrics[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "name", ["gan with BatchNorm", *thorough(*(name for name in EXPERIMENTS if name != "gan with BatchNorm"))]
)
def test_all_modes_train_the_same(name):
    steps = 1 if name == "layers of a VAE" else 5  # rounding grows tenfold in each
    expected = trained(name, "jit", steps=steps)
    before = plan_and_start(name)[1].params
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (before, expected[0].params)), strict=True)]
    assert np.median(moved) > 1e-3  # far above the tolerance: there is something to agree on
    assert_same(expected, trained(name, "pmap", steps=steps))
    assert_same(expected, trained(name, "mesh", steps=steps))


def test_a_mesh_may_have_other_axes_and_fewer_devices():
    expected = trained("vae", "jit")
    for shape, axes in (((2,), (DEVICE_AXIS,)), ((2, 2), (DEVICE_AXIS, "model"))):
        mesh = Mesh(np.array(jax.devices()[: np.prod(shape)]).reshape(shape), axes)
        assert_same(expected, trained("vae", "mesh", mesh=mesh))
    with pytest.raises(ValueError, match="a mesh of the axes model: name the one of the batch 'devices'"):
        trained("vae", "mesh", mesh=Mesh(np.array(jax.devices()), ("model",)))


def test_what_a_layer_of_ones_own_keeps_is_the_mean_of_the_devices():
    """Of statistics that know of no devices, as `flax.linen.BatchNorm` has them: else each device kept its own."""

    def loss(params, others, extras, batch, key):
        del others, key
        kept = {"mean": 0.9 * extras["own"]["mean"] + 0.1 * jnp.mean(batch["x"]), "count": extras["own"]["count"] + 1}
        return jnp.mean(batch["x"]) * params["w"], ({}, {"own": kept})

    player = Player("own", loss, optax.sgd(0.1))
    extras = {"own": {"mean": jnp.zeros(()), "count": jnp.array(0)}}
    start = jax.device_get(create_state([player], {"own": {"w": jnp.ones(())}}, extras))
    batch = {"x": np.arange(16, dtype=np.float32).reshape(16, 1)}
    for how in ("jit", "pmap", "mesh"):
        compiled = compile_step(make_step([player]), how)
        state, _ = compiled.step(compiled.put_state(start), compiled.put_batch(batch))
        kept = state.extras["own"]
        assert {int(shard.data) for shard in kept["count"].addressable_shards} == {1}
        np.testing.assert_allclose([float(shard.data) for shard in kept["mean"].addressable_shards], 0.75, rtol=1e-6)


@pytest.mark.parametrize("name", ["gan with BatchNorm", *thorough("clips")])
def test_on_a_mesh_no_row_of_the_batch_crosses(name):
    """Real and fake rows in one batch stay where they are; what is gathered is asked for, to see a collapse."""
    plan, start = plan_and_start(name)
    compiled = compile_step(make_step(plan.method.players, ema=plan.ema), "mesh")
    text = lower(compiled.step, start, noise_batch(plan.spec, plan.images_per_step)).compile().as_text()
    crossing = re.findall(r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\((.*)", text)
    assert {kind for kind, _ in crossing} == {"all-reduce", "all-gather"}
    assert all("/all_gather" in rest for kind, rest in crossing if kind == "all-gather")


@pytest.mark.parametrize("how", ["pmap", "mesh"])
def test_rows_that_cannot_be_shared_are_refused(how):
    compiled = compile_step(make_step(plan_and_start("vae")[0].method.players), how)
    with pytest.raises(ValueError, match="has 12 rows, not a multiple of 8 devices: change the batch size"):
        compiled.put_batch(noise_batch(GREY, 12))


def test_repeats_that_cannot_be_shared_are_refused():
    """8 rows, 8 devices: each has one row, of which two updates cannot both have one."""
    plan, start = plan_and_start("gan without, two updates")
    compiled = compile_step(make_step(plan.method.players, ema=plan.ema), "pmap")
    with pytest.raises(ValueError, match="not a multiple of the 2 updates"):
        compiled.step(compiled.put_state(start), compiled.put_batch(noise_batch(GREY, 8)))


FLAG = "--xla_force_host_platform_device_count="


@pytest.mark.parametrize(
    ("flags", "own", "threads"),
    [
        ("", None, None),
        (f"--xla_dump_to=x {FLAG}2", None, None),  # no more than cores
        (f"{FLAG}3", None, "12"),
        (f"{FLAG}3 {FLAG}8", None, "32"),
        (f"{FLAG}8", "64", "64"),
    ],
)
def test_more_simulated_devices_than_cores_get_threads_enough(flags, own, threads, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("genjax_art.train.process._keep_memory", lambda: None)
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("PJRT_NPROC", own or "")
    if own is None:
        monkeypatch.delenv("PJRT_NPROC")
    prepare_process()
    assert os.environ.get("PJRT_NPROC") == threads


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a kernel without huge pages")
def test_entry_scripts_keep_memory_on_huge_pages():
    """The heap's room is marked for them, and what a large array leaves is not given back."""
    code = """
import re
from genjax_art.train.process import prepare_process
prepare_process()
import numpy as np
resident = lambda: int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
before = resident()
x = np.ones(50_000_000, np.float32)
with_it = resident()
del x
kept = resident()
areas = open("/proc/self/smaps").read().split("VmFlags:")
size = lambda area: int(re.findall(r"Size:\\s+(\\d+)", area)[0])
marked = [size(area) for area, flags in zip(areas, areas[1:]) if " hg " in flags.split("\\n")[0]]
print(max(marked, default=0), with_it - before, kept - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    marked, taken, kept = map(int, done.stdout.split())
    assert marked > 900_000  # kB
    assert taken > 190_000 and kept > 190_000
