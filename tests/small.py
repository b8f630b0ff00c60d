"""Any experiment, shrunk for tests: narrow networks, two steps, noise of the shape of its own data.

What is shrunk is found by type, not by name, so that a new preset, model or objective is tested without a change
here.
"""

import dataclasses
import importlib
import inspect
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import flax.linen as nn
import numpy as np
from helpers import write_picture

from genjax_art import models, parts
from genjax_art.build import complete
from genjax_art.config import Component, Experiment, Optimizer, RunOptions, with_run
from genjax_art.data.contract import ArraySource, synthetic_source
from genjax_art.data.open import find_set, open_source
from genjax_art.data.recipe import Recipe
from genjax_art.data.request import Request
from genjax_art.data.tfds import read_features
from genjax_art.spec import ArraySpec

LARGEST = 8  # of every whole number among a component's options: widths, latents, samples, ...
FEWEST = {"discriminator_repeats": 2, "blocks": 1}  # each is compiled anew
DIGITS = tuple(str(i) for i in range(10))
# public sets of TFDS: these have no recipe here
PUBLIC = {
    "mnist": ((28, 28, 1), DIGITS),
    "fashion_mnist": ((28, 28, 1), DIGITS),
    "cifar10": ((32, 32, 3), DIGITS),
}


def shrink(experiment: Experiment, **changes: Any) -> Experiment:
    """`experiment` with small components, a batch of 8 and two steps; `changes` replace its fields."""
    experiment = complete(experiment)
    small: dict[str, Any] = {"model": _component(experiment.model), "objective": _component(experiment.objective)}
    small["ema_burn_in"] = min(experiment.ema_burn_in, 16.0)
    short = with_run(experiment, batch_size=8, steps=2, log_every=1, sample_every=2, save_every=1)
    return dataclasses.replace(short, **{**small, **changes})


def _component(component: Component) -> Component:
    options = {name: _value(value) for name, value in component.options.items()}
    fewer = {name: min(options[name], most) for name, most in FEWEST.items() if name in options}
    return Component(component.name, options | fewer)


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_value(item) for item in value)
    return min(value, LARGEST) if type(value) is int else value


def small_networks(name: str, spec: ArraySpec, **options: Any) -> dict[str, nn.Module]:
    """The networks of the model `name`, narrow; `options` as they are."""
    build = importlib.import_module(f"{models.__name__}.{name}").build
    parameters = inspect.signature(build).parameters.values()
    defaults = {p.name: _value(p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}
    return build(spec, **{**defaults, **options})


def spec_of(data: Component) -> ArraySpec:
    """What the examples of a preset's data are. Nothing is prepared or read: every prepared set seems cached.

    Where the user's folder is needed and none is named, it is one of a picture with each of two labels, prepared beside
    it: 16 squares side by side, which may be frames.
    """
    options = dict(data.options)
    with mock.patch("genjax_art.data.prepared.load_decoded", _seemingly_cached), TemporaryDirectory() as folder:
        if "folder" in parts.options(find_set(data.name)) and not options.get("folder"):
            for label in ("one", "other"):
                write_picture(Path(folder) / "own" / label / "picture.png", (8, 128, 3))
            options |= {"folder": Path(folder) / "own", "data_dir": folder}
        return open_source(data.name, **options).spec


def _seemingly_cached(request: Request, recipe: Recipe | None) -> ArraySource:
    if recipe is not None:
        return noise(read_features(recipe.features(), request, recipe)[1], 1)
    shape, classes = PUBLIC[request.name]
    return noise(ArraySpec((*(request.size or shape[:2]), request.channels or shape[2]), classes=classes), 1)


def smaller(spec: ArraySpec) -> ArraySpec:
    """`spec` with pictures of at most 16x16 and clips of at most 8x8x8, which have fewer levels to compile."""
    most = {"image": 16, "clip": 8}.get(spec.kind, max(spec.shape))
    return dataclasses.replace(spec, shape=(*(min(side, most) for side in spec.space), spec.channels))


def noise(spec: ArraySpec, length: int = 32) -> ArraySource:
    """A source of uniform noise that fits `spec`."""
    return synthetic_source(spec, length, seed=0, dtype=np.uint8 if spec.kind in ("image", "clip") else np.float32)


def noise_batch(spec: ArraySpec, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """One batch of uniform noise in the range of `spec`, with labels where it has classes."""
    rng = np.random.default_rng(seed)
    batch = {"x": rng.uniform(spec.low, spec.high, (rows, *spec.shape)).astype(np.float32)}
    if spec.classes:
        batch["label"] = rng.integers(0, len(spec.classes), rows, dtype=np.int32)
    return batch


def gan_experiment(loss: str = "non_saturating", **model: Any) -> Experiment:
    """A tiny convolutional GAN; `model` are options of the model."""
    optimizer = Optimizer(1e-3)
    return Experiment(
        name="tiny-gan",
        model=Component("dcgan", {"width": 4, "latents": 4, "kernel": 3, **model}),
        objective=Component("gan", {"loss": loss}),
        optimizers={"discriminator": optimizer, "generator": optimizer},
        data=Component("mnist_5k"),
        ema_half_life={"generator": 100.0},
        run=RunOptions(batch_size=8, steps=4, log_every=1, sample_every=2, save_every=2),
    )


def video_gan_experiment(**model: Any) -> Experiment:
    """A tiny GAN of clips with two judges; `model` are options of the model."""
    small = {"content": 3, "motion": 2, "state": 4, "width": 4, "frames_width": 4, "clips_width": 4, **model}
    players = ("frames", "clips", "generator")
    return dataclasses.replace(
        gan_experiment(),
        name="tiny-video-gan",
        model=Component("mocogan", small),
        objective=Component("video_gan"),
        optimizers=dict.fromkeys(players, Optimizer(1e-3)),
        data=Component("moving_shapes"),
    )


def vae_experiment(**objective: Any) -> Experiment:
    """A tiny fully connected VAE; `objective` are options of the objective."""
    return Experiment(
        name="tiny-vae",
        model=Component("mlp_vae", {"width": 8, "latents": 3}),
        objective=Component("vae", {"likelihood": "bernoulli", **objective}),
        optimizers={"vae": Optimizer(1e-3)},
        data=Component("mnist_5k"),
        ema_half_life={"vae": 100.0},
        run=RunOptions(batch_size=8, steps=4, log_every=1, sample_every=2, save_every=2),
    )
