"""The same numbers as on CPU: convolutions with their derivatives up to second order, and steps of each method."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.benchmark.device.row import PRECISIONS, Row, in_precision
from genjax_art.build import build_plan, complete, load_preset
from genjax_art.config import Component, Experiment, with_run
from genjax_art.models import convolution
from genjax_art.music.notes import PITCHES
from genjax_art.run.training import initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.step import make_step

# relative to the norm of what is compared; one product of tf32 or bfloat16 numbers is off by 3e-4 and 3e-3
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 1e-1}
PASSES = {"float32": "highest", "tf32": "tensorfloat32"}

# name -> ((b, *space, c_in), window, strides, groups, c_out)
CONVOLUTIONS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], int, int, int]] = {
    "5x5 stride 2": ((8, 14, 14, 32), (5, 5), 2, 1, 64),
    "5x5 stride 2, odd": ((8, 7, 7, 32), (5, 5), 2, 1, 64),
    "3x3 in groups": ((8, 16, 16, 64), (3, 3), 1, 4, 64),
    "1x1": ((8, 16, 16, 64), (1, 1), 1, 1, 128),
    "3x3x3 stride 2": ((2, 8, 12, 12, 16), (3, 3, 3), 2, 1, 32),
    "4 stride 2": ((8, 32, 16), (4,), 2, 1, 32),
}
STEPS: Mapping[str, tuple[int, ...]] = {
    "dcgan-small": (28, 28, 1),
    "r3gan-small": (16, 16, 3),
    "conv-vae": (28, 28, 1),
    "music-vae-small": (32, PITCHES, 8),
}
ROWS = 16  # of a batch


def rows(tiny: bool) -> Iterator[Row]:
    cpu = jax.local_devices(backend="cpu")[0]
    names = list(CONVOLUTIONS)[:2] if tiny else list(CONVOLUTIONS)
    for precision in ("float32",) if tiny else PRECISIONS:
        for name in names:
            found = {
                kind: relative(run_on(f, None, *arguments), run_on(f, cpu, *reference))
                for kind, f, arguments, reference in forms(*CONVOLUTIONS[name], precision)
            }
            worst = max(found.values())
            yield Row(f"convolution {name}, {precision}", rounded(found), worst <= TOLERANCE[precision])
    for name, shape in list(STEPS.items())[: 1 if tiny else None]:
        for precision in ("float32",) if tiny else ("float32", "bfloat16"):
            differences = step_differences(in_precision(small(name), precision), small(name), shape, cpu)
            # a penalty's gradient in bfloat16 is a product of many
            holds = max(differences.values()) <= TOLERANCE[precision] * (1 if precision == "float32" else 3)
            yield Row(f"step {name}, {precision}", rounded(differences), holds)


def small(name: str) -> Experiment:
    """The preset, narrow enough to be compiled within seconds."""
    experiment = complete(load_preset(name))
    widths = {"width": 32, "widths": (32, 32), "blocks": 1}
    known = {k: v for k, v in widths.items() if k in experiment.model.options}
    model = Component(experiment.model.name, {**experiment.model.options, **known})
    return with_run(dataclasses.replace(experiment, model=model), batch_size=ROWS)


def forms(
    shape: tuple[int, ...], window: tuple[int, ...], strides: int, groups: int, channels: int, precision: str
) -> Iterator[tuple[str, Callable[..., Any], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """Forward, both gradients and gradients of their norm: the function, what it gets, and what the reference gets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    scale: float = (shape[-1] // groups * prod(window)) ** -0.5
    kernel = (scale * rng.normal(size=(*window, shape[-1] // groups, channels))).astype(np.float32)

    def forward(x: Any, kernel: Any) -> Any:
        with jax.default_matmul_precision(PASSES.get(precision, "highest")):
            return convolution.conv(x, kernel, strides, "SAME", groups)

    def loss(x: Any, kernel: Any) -> Any:
        return jnp.sum(jnp.sin(forward(x, kernel)).astype(jnp.float32))

    def slope(x: Any, kernel: Any) -> Any:
        of_x, of_kernel = jax.grad(loss, (0, 1))(x, kernel)
        return sum(jnp.sum(jnp.square(g.astype(jnp.float32))) for g in (of_x, of_kernel))

    given = tuple(np.asarray(a, jnp.bfloat16 if precision == "bfloat16" else np.float32) for a in (x, kernel))
    exact = tuple(np.asarray(a, np.float32) for a in given)
    yield "forward", forward, given, exact
    yield "gradients", jax.grad(loss, (0, 1)), given, exact
    yield "second order", jax.grad(slope, (0, 1)), given, exact


def run_on(f: Callable[..., Any], device: Any, *arguments: Any) -> list[np.ndarray]:
    """The leaves of what `f` gives on that device, as float64."""
    placed = jax.device_put(arguments, device or jax.local_devices()[0])
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(jax.device_get(jax.jit(f)(*placed)))]


def relative(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest norm of a difference over the norm of what is expected."""
    pairs = zip(found, expected, strict=True)
    return max(float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-30) for a, b in pairs)


def step_differences(
    experiment: Experiment, reference: Experiment, shape: tuple[int, ...], cpu: Any
) -> dict[str, float]:
    """Relative differences of a step's metrics: losses, penalties, norms of gradients and updates."""
    plan, other = (build_plan(e, spec_of(shape)) for e in (experiment, reference))
    # on CPU the first parameters are drawn, and both sides start there
    with jax.default_device(cpu):
        state = jax.device_get(initial_state(other))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (other.images_per_step, *shape)).astype(np.float32)
    batch = {"x": x, "label": rng.integers(0, max(len(other.spec.classes), 1), len(x)).astype(np.int32)}
    found = {}
    for name, (side, device) in {"here": (plan, jax.local_devices()[0]), "cpu": (other, cpu)}.items():
        step = jax.jit(make_step(side.method.players, ema=side.ema))
        found[name] = jax.device_get(step(*jax.device_put((state, batch), device))[1])
    return {
        name: abs(float(found["here"][name]) - float(value)) / max(abs(float(value)), 1e-2)
        for name, value in found["cpu"].items()
        if name.endswith(("loss", "grad_norm")) or name.rpartition("/")[2] in ("r1", "r2", "kl")
    }


def spec_of(shape: tuple[int, ...]) -> ArraySpec:
    """Ten classes of pictures, or a roll, which has more channels."""
    if shape[-1] > 4:
        return ArraySpec(shape, kind="roll")
    return ArraySpec(shape, classes=tuple("0123456789"))


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.2g}") for name, value in values.items()}
