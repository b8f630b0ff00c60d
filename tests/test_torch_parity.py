"""The PyTorch peers compute our functions from our weights: else the speed comparison would compare two things."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.benchmark.steps import rows
from genjax_art.build import build_plan, find_part
from genjax_art.spec import ArraySpec

torch = pytest.importorskip("torch")
from genjax_art.benchmark.peers import torch_mocogan, torch_models, torch_r3gan, torch_steps  # noqa: E402


def noisy(params, seed):
    """Parameters without zeros, so that no path through the network is silent."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(p) + 0.05 * rng.standard_normal(p.shape).astype(np.float32), params)


def ours_and_theirs(name):
    experiment, shape = rows()[name]
    method = build_plan(experiment, ArraySpec(shape)).method
    params, extras = jax.jit(method.init)(jax.random.key(0))
    nets = torch_steps.networks(experiment.model.name, shape, experiment.model.options)
    return experiment, shape, method, params, extras, nets


def load(model, net, params):
    return (torch_r3gan if model == "r3gan" else torch_models).load(net, params)


@pytest.mark.parametrize("name", ["dcgan-small", "dcgan-32-batchnorm", "r3gan-small", "mlp-gan"])
def test_gan_peer(name):
    experiment, shape, _, params, extras, nets = ours_and_theirs(name)
    ours = find_part("model", experiment.model.name)(ArraySpec(shape), **experiment.model.options)
    rng = np.random.default_rng(1)
    z = rng.standard_normal((4, experiment.model.options["latents"])).astype(np.float32)
    x = rng.uniform(-1, 1, (4, *shape)).astype(np.float32)
    for player, value in (("generator", z), ("discriminator", x)):
        own = noisy(params[player], 2)
        y = ours[player].apply(
            {"params": own, **extras[player]}, jnp.asarray(value), None, train=True, mutable=list(extras[player])
        )[0]
        y = y["logits"] if player == "discriminator" else y
        net = load(experiment.model.name, nets[player], own)
        theirs = net(torch.from_numpy(value if player == "generator" else value.transpose(0, 3, 1, 2).copy()))
        theirs = theirs.detach().numpy()
        theirs = theirs.transpose(0, 2, 3, 1) if player == "generator" else theirs
        np.testing.assert_allclose(np.asarray(y), theirs, atol=2e-4 * np.abs(theirs).max(), rtol=1e-3)


def test_gan_of_clips_peer():
    experiment, shape, _, params, extras, nets = ours_and_theirs("mocogan-shapes")
    ours = find_part("model", experiment.model.name)(ArraySpec(shape), **experiment.model.options)
    rng, z = np.random.default_rng(1), ours["generator"].draw(jax.random.normal, jax.random.key(1), 2)
    x = rng.uniform(-1, 1, (2, *shape)).astype(np.float32)
    for player, value in (("generator", z), ("frames", x[:, 0]), ("clips", x)):
        own = noisy(params[player].get("judge", params[player]), 2)  # within `EachFrame`
        apply = jax.jit(functools.partial(ours[player].apply, train=True, mutable=list(extras[player])))
        y = apply({"params": own, **extras[player]}, value, None)[0]
        net = torch_mocogan.load(nets[player], own)
        given = [value["content"], value["motion"]] if player == "generator" else [np.moveaxis(value, -1, 1)]
        theirs = net(*(torch.from_numpy(np.array(a)) for a in given)).detach().numpy()
        y, theirs = (y, np.moveaxis(theirs, 1, -1)) if player == "generator" else (y["logits"], theirs)
        np.testing.assert_allclose(np.asarray(y), theirs, atol=2e-4 * np.abs(theirs).max(), rtol=1e-3)


@pytest.mark.parametrize("name", ["mlp-vae", "conv-vae"])
def test_vae_peer(name):
    experiment, shape, _, params, _, nets = ours_and_theirs(name)
    ours = find_part("model", experiment.model.name)(ArraySpec(shape), **experiment.model.options)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (4, *shape)).astype(np.float32)
    z = rng.standard_normal((4, experiment.model.options["latents"])).astype(np.float32)
    own = {name: noisy(params["vae"][name], 3) for name in ("encoder", "decoder")}
    mu, logvar = ours["encoder"].apply({"params": own["encoder"]}, jnp.asarray(x))
    theirs = load("vae", nets["encoder"], own["encoder"])(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    for a, b in zip((mu, logvar), theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a), b.detach().numpy(), atol=1e-4, rtol=1e-3)
    y = ours["decoder"].apply({"params": own["decoder"]}, jnp.asarray(z))
    theirs = load("vae", nets["decoder"], own["decoder"])(torch.from_numpy(z)).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(np.asarray(y), theirs, atol=1e-4, rtol=1e-3)


def test_missing_layer_is_noticed():
    _, _, _, params, _, nets = ours_and_theirs("mlp-vae")
    broken = {k: v for k, v in params["vae"]["encoder"].items() if k != "Dense_2"}
    with pytest.raises(ValueError, match="not the same model"):
        torch_models.load(nets["encoder"], broken)
