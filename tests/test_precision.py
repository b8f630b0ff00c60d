"""The precision of networks: everything outside is float32, nothing inside widens, and float32 means float32."""

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from jax.extend.core import jaxprs_in_params
from small import gan_experiment, noise, noise_batch, shrink, small_networks, smaller, spec_of, vae_experiment
from test_presets import often_but

from genjax_art.build import build_plan, load_preset, preset_names
from genjax_art.config import Component, from_json, to_json, with_run
from genjax_art.errors import UsageError
from genjax_art.losses.penalty import squared_gradient_norm
from genjax_art.models.convolution import conv, conv_transpose
from genjax_art.models.heads import WithHead
from genjax_art.models.layers import Dense, Embed
from genjax_art.models.precision import PRECISIONS, as_in, chosen, computing
from genjax_art.models.recurrent import GRU
from genjax_art.run.load import load_run
from genjax_art.run.training import initial_state, run
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.step import batches_per_step, make_step

KEY = jax.random.key(0)
GREY = ArraySpec((12, 10, 1), classes=("a", "b"))
SLOPES = {"penalties": {"r1": 0.1, "r2": 0.1, "wgan_gp": 0.1}, "loss": "relativistic"}


def penalised(*words, **model):
    """A convolutional GAN with penalties on slopes, hence double gradients."""
    experiment = gan_experiment(**model)
    objective = Component("gan", SLOPES)
    return dataclasses.replace(experiment, objective=objective, precision=words or ("float32",))


def stepped(experiment, steps=1, how="jit"):
    plan = build_plan(experiment, GREY)
    compiled = compile_step(make_step(plan.method.players, ema=plan.ema), how)
    state = compiled.put_state(jax.device_get(initial_state(plan)))
    for step in range(steps):
        state, metrics = compiled.step(state, compiled.put_batch(noise_batch(GREY, 16, step)))
    return jax.device_get(state), jax.device_get(metrics)


def products(jaxpr):
    """Every product and convolution in a jaxpr, with what is inside of it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(("dot_general", "conv")) and eqn.primitive.name != "convert_element_type":
            yield eqn
        for sub in jaxprs_in_params(eqn.params):
            yield from products(sub)


def of_a_vector(eqn):
    """Logits, power iterations of spectral norm, sums of losses: named float32, at no cost."""
    return any(sum(n > 1 for n in v.aval.shape) <= 1 for v in eqn.invars)


@pytest.mark.parametrize("name", often_but(("muse-gan-small", "music-vae-small")))
def test_no_product_of_a_bfloat16_step_is_wider(name):
    """Of no preset, in no loss and no gradient; with strict promotion a mixture would not even be traced."""
    preset = load_preset(name)
    plan = build_plan(shrink(preset, precision=("bfloat16",)), smaller(spec_of(preset.data)))
    state = plan.state_shapes()
    rows = plan.run.batch_size * batches_per_step(plan.method.players)
    batch = noise_batch(plan.spec, rows)
    traced = jax.make_jaxpr(make_step(plan.method.players, ema=plan.ema))(state, batch)
    found = list(products(traced.jaxpr))
    wide = [eqn for eqn in found if any(v.aval.dtype != jnp.bfloat16 for v in eqn.invars) and not of_a_vector(eqn)]
    assert found
    assert not wide, [str(eqn) for eqn in wide[:3]]
    widths = {np.dtype(leaf.dtype).itemsize for leaf in traced.out_avals}
    assert widths == {4}, "parameters, optimizer states, averages, extras and metrics"


def sums(jaxpr):
    """Every sum over axes, and every scatter of rows that are added, with what is inside of it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("reduce_sum", "scatter-add", "scatter_add"):
            yield eqn
        for sub in jaxprs_in_params(eqn.params):
            yield from sums(sub)


MOST = 16  # terms of a sum in bfloat16: frames of a clip, steps of a bar


@pytest.mark.parametrize("name", ["mlp-vae", "cdcgan-mnist", *thorough(*sorted(set(preset_names())))])
def test_no_long_sum_of_a_bfloat16_step_is_formed_in_bfloat16(name):
    """Gradients of biases, gains and embeddings, over a batch that no clip or bar is as long as; what a loop adds up is
    the next test's."""
    preset = load_preset(name)
    plan = build_plan(with_run(shrink(preset, precision=("bfloat16",)), batch_size=32), smaller(spec_of(preset.data)))
    batch = noise_batch(plan.spec, plan.images_per_step)
    traced = jax.make_jaxpr(make_step(plan.method.players, ema=plan.ema))(plan.state_shapes(), batch)
    found = list(sums(traced.jaxpr))
    assert found
    narrow = [eqn for eqn in found if eqn.invars[0].aval.dtype == jnp.bfloat16]
    long = [eqn for eqn in narrow if eqn.invars[0].aval.size > MOST * eqn.outvars[0].aval.size]
    tables = [eqn for eqn in narrow if eqn.primitive.name.startswith("scatter") and eqn.outvars[0].aval.ndim == 2]
    assert not long + tables, [str(eqn) for eqn in (long + tables)[:3]]


def test_what_is_summed_in_bfloat16_would_be_seen():
    def gradient(bias):
        return jax.grad(lambda b: jnp.sum(jnp.ones((512, 3), jnp.bfloat16) * b[None]).astype(jnp.float32))(bias)

    assert any(
        eqn.invars[0].aval.dtype == jnp.bfloat16
        for eqn in sums(jax.make_jaxpr(gradient)(jnp.ones(3, jnp.bfloat16)).jaxpr)
    )


@pytest.mark.parametrize("leaf", ["bias", "recurrent"])
def test_the_gradient_of_many_steps_is_summed_in_float32(leaf):
    """Each of 1,024 steps adds about the same, of which bfloat16 would lose the most after the first 256."""
    x, start = jnp.ones((2, 1024, 3)), jnp.zeros((2, 4))
    networks = [computing(GRU(4), word) for word in ("float32", "bfloat16")]
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16).astype(jnp.float32), networks[0].init(KEY, x, start))
    wide, narrow = (jax.grad(lambda p, n=n: jnp.mean(n.apply(p, x, start)))(params)["params"][leaf] for n in networks)
    assert float(jnp.linalg.norm(narrow - wide)) < 0.05 * float(jnp.linalg.norm(wide))


def test_layers_are_those_of_flax():
    """Parameters, values and gradients, to the bit."""
    x, label = jax.random.normal(KEY, (7, 3, 5)), jnp.arange(7) % 4
    pairs = [
        (Dense(6), nn.Dense(6), x),
        (Dense(6, use_bias=False), nn.Dense(6, use_bias=False), x[:, 0]),
        (Embed(4, 6, nn.initializers.normal(1.0)), nn.Embed(4, 6, embedding_init=nn.initializers.normal(1.0)), label),
    ]
    for ours, theirs, of in pairs:
        params = theirs.init(KEY, of)
        jax.tree.map(np.testing.assert_array_equal, ours.init(KEY, of), params)
        found = [
            jax.value_and_grad(lambda p, n=n, of=of: jnp.sum(jnp.sin(n.apply(p, of))))(params) for n in (ours, theirs)
        ]
        jax.tree.map(np.testing.assert_array_equal, *found)


def test_first_parameters_do_not_depend_on_the_precision():
    one, *others = (jax.device_get(initial_state(build_plan(penalised(word), GREY))) for word in PRECISIONS)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.thorough
def test_on_cpu_float32_is_what_it_was(monkeypatch):
    """To the bit, and so is tf32."""
    found = [stepped(penalised(name, generator_norm="batch"), 2) for name in ("float32", "tf32")]
    monkeypatch.setattr("genjax_art.models.precision.computing", lambda network, name: network)
    before = stepped(penalised(generator_norm="batch"), 2)
    for after in found:
        jax.tree.map(np.testing.assert_array_equal, before, after)


def test_bfloat16_is_near_float32():
    """Losses and gradients of all orders to bfloat16's 8 bits."""
    model = {"generator_norm": "conditional_batch", "discriminator_norm": "spectral", "conditional": True}
    wide, narrow = (stepped(penalised(word, **model))[1] for word in ("float32", "bfloat16"))
    assert wide["finite"] == narrow["finite"] == 1
    for name in wide:
        assert narrow[name] == pytest.approx(wide[name], rel=0.1, abs=0.02), name
    assert any(narrow[name] != wide[name] for name in wide)


def test_penalties_are_sums_of_float32():
    """Of a bfloat16 slope: the sum of its exact squares, which bfloat16 could not hold."""
    network = computing(small_networks("dcgan", GREY)["discriminator"], "bfloat16")
    x = jnp.asarray(noise_batch(GREY, 4)["x"])
    variables = jax.jit(network.init)(jax.random.key(0), x)

    def critic(x):
        return network.apply(variables, x)["logits"]

    slope = np.asarray(jax.grad(lambda x: jnp.sum(critic(x)))(x))
    np.testing.assert_array_equal(slope, np.asarray(jnp.asarray(slope, jnp.bfloat16), np.float32))
    exact = (slope.astype(np.float64) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(squared_gradient_norm(critic, x), exact, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("scale", [0.0, 1e3])
def test_bfloat16_is_finite_where_float32_is(scale):
    plan = build_plan(penalised("bfloat16", discriminator_norm="spectral"), GREY)
    step = make_step(plan.method.players, ema=plan.ema)
    batch = noise_batch(GREY, 16)
    state = initial_state(plan)
    scaled = {"generator": jax.tree.map(lambda w: w * jnp.float32(scale), state.params["generator"])}
    _, metrics = jax.jit(step)(state.replace(params={**state.params, **scaled}), batch)
    assert metrics["finite"] == 1


@pytest.mark.thorough
def test_all_modes_train_the_same_in_bfloat16():
    """As far as rounding goes: a device's share of a sum is rounded by itself. Adam makes steps of signs: so SGD."""
    experiment = penalised("bfloat16", generator_norm="batch")
    sgd = {n: dataclasses.replace(o, transform=Component("sgd")) for n, o in experiment.optimizers.items()}
    one, eight = (stepped(dataclasses.replace(experiment, optimizers=sgd), how=how)[0] for how in ("jit", "pmap"))
    near = functools.partial(np.testing.assert_allclose, atol=2e-4, rtol=2e-2)
    for name in ("params", "extras", "ema"):
        jax.tree.map(near, getattr(one, name), getattr(eight, name))


def test_a_bfloat16_run_resumes_exactly_and_draws(quick_runs, tmp_path):
    experiment = dataclasses.replace(gan_experiment(), precision=("float32", "generator=bfloat16"))
    source = noise(GREY)
    for folder, lengths in (("whole", (4,)), ("parts", (2, 4))):
        for steps in lengths:
            one = dataclasses.replace(experiment, run=dataclasses.replace(experiment.run, steps=steps))
            assert run(build_plan(one, GREY), source, tmp_path / folder, how="jit", resume=steps != lengths[0]) == 0
    whole, parts = (load_run(tmp_path / folder) for folder in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    drawn = whole.sample(4)
    assert drawn.dtype == np.float32
    assert whole.experiment.precision == ("float32", "generator=bfloat16")
    wide = build_plan(dataclasses.replace(experiment, precision=("float32",)), GREY)
    other = dataclasses.replace(whole, plan=wide).sample(4)
    assert 0 < np.abs(drawn - other).max() < 0.1


# What a GPU is given, as text: no GPU is needed for that.

PRODUCT = re.compile(r"stablehlo\.(?:convolution|dot_general).*")


def for_cuda(experiment):
    """The products and convolutions of a step, double gradients and all, as a GPU gets them."""
    plan = build_plan(experiment, GREY)
    step = jax.jit(make_step(plan.method.players, ema=plan.ema))
    text = step.trace(plan.state_shapes(), noise_batch(GREY, 16)).lower(lowering_platforms=("cuda",)).as_text()
    return [line[0] for line in PRODUCT.finditer(text)]


@pytest.mark.parametrize(("word", "asked"), [("float32", "HIGHEST"), ("tf32", "HIGH")])
def test_a_gpu_is_asked_for_the_precision(word, asked):
    lines = for_cuda(penalised(word, discriminator_norm="spectral"))
    assert sum("convolution" in line for line in lines) > 10 and sum("dot_general" in line for line in lines) > 10
    pairs = [set(re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)) for line in lines]
    assert all(pair in ({asked}, {"HIGHEST"}) for pair in pairs)
    assert all(pair == {asked} for pair, line in zip(pairs, lines, strict=True) if "convolution" in line)


def test_a_gpu_is_given_bfloat16():
    lines = [line for line in for_cuda(penalised("bfloat16")) if "convolution" in line]
    types = [re.search(r": \((tensor<\S+>), (tensor<\S+>)\) -> (tensor<\S+>)", line).groups() for line in lines]
    assert len(types) > 10
    assert all(kind.endswith("xbf16>") for kinds in types for kind in kinds)


@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_keep_the_precision_of_their_call(transposed):
    """In all derivatives, mapped or not, though they are lowered later."""

    def loss(x, w):
        with jax.default_matmul_precision("highest"):
            y = (conv_transpose if transposed else conv)(x, w, 2)
        return jnp.sum(y**3)

    def slope(x, w):
        return jnp.sum(jax.grad(loss)(x, w) ** 2)

    x, w = jnp.ones((3, 2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    lowered = jax.jit(jax.vmap(jax.grad(slope, 1), (0, None))).trace(x, w).lower(lowering_platforms=("cuda", "tpu"))
    lines = [line[0] for line in PRODUCT.finditer(lowered.as_text()) if "convolution" in line[0]]
    assert len(lines) > 4
    assert all(set(re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)) == {"HIGHEST"} for line in lines)


# What can be asked for.


def test_words_name_all_networks_or_one():
    both = ("generator", "discriminator")
    assert chosen((), both) == dict.fromkeys(both, "float32")
    assert chosen(("bfloat16",), both) == dict.fromkeys(both, "bfloat16")
    assert chosen(("discriminator=tf32", "bfloat16"), both) == {"generator": "bfloat16", "discriminator": "tf32"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("float16",), "unknown precision 'float16'; known: bfloat16, float32, tf32"),
        (("critic=bfloat16",), "unknown network in precision 'critic'; known: discriminator, generator"),
        (("generator=",), "unknown precision ''"),
        (("=tf32",), "unknown network in precision ''"),
        (("tf32", "bfloat16"), "two precisions for all networks, tf32 and bfloat16"),
        (("generator=tf32", "generator=bfloat16"), "two precisions for generator"),
    ],
)
def test_other_words_are_refused(words, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        build_plan(dataclasses.replace(gan_experiment(), precision=words), GREY)


def test_configs_from_before_are_float32():
    experiment = dataclasses.replace(vae_experiment(), precision=("encoder=bfloat16", "tf32"))
    assert from_json(to_json(experiment)) == experiment
    old = to_json(experiment)
    del old["precision"]
    assert from_json(old).precision == ("float32",)


def test_a_network_stays_what_it_is():
    network = small_networks("dcgan", GREY)["generator"]
    narrow = computing(network, "bfloat16")
    assert isinstance(narrow, type(network)) and narrow.latents == network.latents
    assert narrow == computing(network, "bfloat16") == computing(computing(network, "tf32"), "bfloat16") != network
    assert narrow.clone(width=3).width == 3


def test_a_module_around_a_network_has_its_precision():
    network = computing(small_networks("mlp", GREY)["discriminator"], "bfloat16")
    around = as_in(network, WithHead(network, "more", 3))
    x = jnp.ones((2, *GREY.shape))
    variables = jax.jit(around.init)(jax.random.key(0), x)
    out = around.apply(variables, x)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, out))} == {jnp.dtype("float32")}
    inside = jax.make_jaxpr(around.apply)(variables, x)
    assert sum(v.aval.dtype == jnp.bfloat16 for eqn in products(inside.jaxpr) for v in eqn.invars) >= 6
    plain = small_networks("mlp", GREY)["discriminator"]
    assert as_in(plain, around) is around
