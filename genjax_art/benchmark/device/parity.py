"""The same numbers as on CPU: convolutions with their derivatives up to second order, and steps of each method."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.benchmark.device.row import PRECISIONS, Row, in_precision
from genjax_art.build import Plan, build_plan, complete, load_preset
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
    yield from of_steps(list(STEPS)[: 1 if tiny else None], ("float32",) if tiny else ("float32", "bfloat16"), cpu)
    yield from of_convolutions(list(CONVOLUTIONS)[: 2 if tiny else None], ("float32",) if tiny else PRECISIONS, cpu)


def of_steps(names: Sequence[str], precisions: Sequence[str], cpu: Any) -> Iterator[Row]:
    for name in names:
        shape = STEPS[name]
        expected = reference(small(name), shape, cpu)
        for precision in precisions:
            differences = step_differences(in_precision(small(name), precision), shape, expected)
            # a penalty's gradient in bfloat16 is a product of many
            holds = max(differences.values()) <= TOLERANCE[precision] * (1 if precision == "float32" else 3)
            yield Row(f"step {name}, {precision}", rounded(differences), holds)


def of_convolutions(names: Sequence[str], precisions: Sequence[str], cpu: Any) -> Iterator[Row]:
    @cache
    def expected(name: str, numbers: str) -> list[list[np.ndarray]]:
        return [run_on(f, cpu, *exact) for _, f, _, exact in forms(*CONVOLUTIONS[name], numbers)]

    for precision in precisions:
        for name in names:
            # what CPU makes of float32 numbers, of those that bfloat16 has or of all
            wanted = expected(name, "bfloat16" if precision == "bfloat16" else "float32")
            pairs = zip(forms(*CONVOLUTIONS[name], precision), wanted, strict=True)
            found = {kind: relative(run_on(f, None, *given), want) for (kind, f, given, _), want in pairs}
            holds = max(found.values()) <= TOLERANCE[precision]
            yield Row(f"convolution {name}, {precision}", rounded(found), holds)


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


@dataclass(frozen=True)
class Reference:
    """What one step on CPU starts from and gives, in float32."""

    state: Any
    batch: dict[str, np.ndarray]
    metrics: Mapping[str, np.ndarray]


def reference(experiment: Experiment, shape: tuple[int, ...], cpu: Any) -> Reference:
    plan = build_plan(experiment, spec_of(shape))
    state = jax.device_get(initial_state(plan))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (plan.images_per_step, *shape)).astype(np.float32)
    batch = {"x": x, "label": rng.integers(0, max(len(plan.spec.classes), 1), len(x)).astype(np.int32)}
    return Reference(state, batch, metrics_of(plan, state, batch, cpu))


def metrics_of(plan: Plan, state: Any, batch: Mapping[str, np.ndarray], device: Any) -> Mapping[str, np.ndarray]:
    step = jax.jit(make_step(plan.method.players, ema=plan.ema))
    found: Mapping[str, np.ndarray] = jax.device_get(step(*jax.device_put((state, batch), device))[1])
    return found


def step_differences(experiment: Experiment, shape: tuple[int, ...], expected: Reference) -> dict[str, float]:
    """Relative differences of a step's metrics: losses, penalties, norms of gradients and updates."""
    plan = build_plan(experiment, spec_of(shape))
    found = metrics_of(plan, expected.state, expected.batch, jax.local_devices()[0])
    return {
        name: abs(float(found[name]) - float(value)) / max(abs(float(value)), 1e-2)
        for name, value in expected.metrics.items()
        if name.endswith(("loss", "grad_norm")) or name.rpartition("/")[2] in ("r1", "r2", "kl")
    }


def spec_of(shape: tuple[int, ...]) -> ArraySpec:
    """Ten classes of pictures, or a roll, which has more channels."""
    if shape[-1] > 4:
        return ArraySpec(shape, kind="roll")
    return ArraySpec(shape, classes=tuple("0123456789"))


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.2g}") for name, value in values.items()}
