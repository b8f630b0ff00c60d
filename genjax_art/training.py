"""A whole training run in a folder: state, loop, logs, pictures, scores, checkpoints, interruption, resumption."""

import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art import runs, sampling
from genjax_art.build import Plan
from genjax_art.data.batches import batches, to_range
from genjax_art.data.contract import Source
from genjax_art.errors import RunError
from genjax_art.keys import fold
from genjax_art.media.writers import sheet, write_samples
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein
from genjax_art.objectives.method import draw_latents
from genjax_art.train import seeds
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.compile import Compiled, How, compile_step, default_how
from genjax_art.train.loop import Hook, train
from genjax_art.train.state import TrainState, create_state, state_shapes
from genjax_art.train.step import batches_per_step, make_step
from genjax_art.train.watch import collapse_watch

PICTURES = 64  # in a sample grid
SCORED = 1000  # samples and data compared by the score


def initial_state(plan: Plan) -> TrainState:
    """The state before step 1, a pure function of the plan; compiled whole, which is quicker than piecewise.

    It runs once, so LLVM is told not to optimise it: 2 s instead of 12 for the initialisers of a convolutional VAE.
    With several seeds it has that many members (see `train/seeds.py`).
    """

    def init(seed: jax.Array) -> TrainState:
        params, extras = plan.method.init(fold(jax.random.key(seed), "init"))
        return create_state(plan.method.players, params, extras, seed=seed, ema=plan.ema)

    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    if plan.seeds == 1:
        return jax.jit(init, compiler_options=options)(np.int32(plan.seed))
    members = jax.vmap(init, out_axes=seeds.AXES)
    return jax.jit(members, compiler_options=options)(np.arange(plan.seed, plan.seed + plan.seeds, dtype=np.int32))


def compile_plan(plan: Plan, how: How | None) -> Compiled:
    """The plan's step, for all its seeds at once.

    Raises:
      RunError: several seeds on several devices.
    """
    step = make_step(plan.method.players, ema=plan.ema)
    if plan.seeds == 1:
        return compile_step(step, how or default_how())
    if how not in (None, "jit"):
        raise RunError(f"several seeds train on one device: leave --parallel {how} out, or --seeds")
    return compile_step(seeds.vmap_step(step), "jit")


def stream_of(plan: Plan, source: Source, start: int) -> Generator[dict[str, np.ndarray], None, None]:
    """This process's batches from step `start` on; with several seeds each member's are those of its own seed."""
    rows = plan.batch_size * batches_per_step(plan.method.players)

    def of_seed(seed: int) -> Generator[dict[str, np.ndarray], None, None]:
        return batches(
            source,
            batch_size=rows,
            seed=seed,
            start=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    if plan.seeds == 1:
        return of_seed(plan.seed)
    return seeds.stack_batches([of_seed(seed) for seed in range(plan.seed, plan.seed + plan.seeds)])


def run(plan: Plan, source: Source, folder: Path, *, how: How | None = None, resume: bool = False) -> int:
    """Trains in `folder`; returns 0, or 128 + the number of the signal that ended it early (after a checkpoint).

    Raises:
      RunError: the folder holds a run and `resume` is not asked for, or holds none and it is; a non-finite loss.
    """
    runs.check_folder(folder, plan.steps, resume=resume)
    compiled = compile_plan(plan, how)
    # refused before anything is written where the devices cannot share the batch equally
    compiled.put_batch({"x": np.zeros((plan.batch_size // jax.process_count(), 1), np.float32)})
    from genjax_art.train.curves import draw_curves
    from genjax_art.train.logs import read_metrics, run_log

    with ExitStack() as stack:
        caught = stack.enter_context(_signals())
        fresh = None if resume else initial_state(plan)
        checkpoints = stack.enter_context(
            Checkpoints(folder / runs.CHECKPOINTS, keep_latest=plan.keep_latest, keep_best=plan.keep_best)
        )
        shapes = seeds.shapes_of(state_shapes(plan.method.players, plan.method.init, plan.ema), plan.seeds)
        state = checkpoints.restore(shapes) if fresh is None else fresh
        runs.write_config(folder, plan.config)  # only now: a checkpoint that cannot be read changes nothing
        start = int(state.step)
        images = plan.batch_size * batches_per_step(plan.method.players)
        log = stack.enter_context(run_log(folder, total_steps=plan.steps, batch_size=images, start_step=start))
        score, draw = _scorer(plan, source), _drawer(plan, folder)
        watch = collapse_watch(lambda line: print(line, file=sys.stderr, flush=True))

        def on_log(step: int, metrics: Mapping[str, float]) -> None:
            log.scalars(step, metrics)
            log.progress(step, metrics)
            watch(step, metrics)

        def on_sample(step: int, state: TrainState) -> None:
            log.image(step, "samples", draw(step, state))

        def on_save(step: int, state: TrainState) -> None:
            checkpoints.save(step, state, score(state))

        def stop(step: int) -> bool:
            log.progress(step)
            return bool(caught)

        stream = stream_of(plan, source, start)
        stack.callback(stream.close)
        began = time.monotonic()
        state = train(
            compiled,
            compiled.put_state(state),
            stream,
            steps=plan.steps,
            log=on_log,
            log_every=plan.log_every,
            hooks=[Hook(plan.sample_every, on_sample), Hook(plan.save_every, on_save)],
            stop=stop,
        )
        seconds = time.monotonic() - began
    draw_curves(read_metrics(folder / "metrics.jsonl"), folder / runs.CURVES)
    print(_last_line(folder, start, int(state.step), plan.steps, seconds))
    return 128 + caught[0] if caught else 0


def _last_line(folder: Path, start: int, done: int, steps: int, seconds: float) -> str:
    """What a run from step `start` to `done` of `steps` made, and the command that comes next."""
    how, command = "trained", f"Sample: python sample.py {folder}"
    if done < steps:
        how, command = "stopped", f"Go on: python train.py --resume --run-dir {folder}"
    return (
        f"{folder}: {how} at step {done} of {steps} ({seconds:.0f} s for {done - start} steps); "
        f"checkpoints, samples, curves.png, metrics.jsonl. {command}"
    )


def _scorer(plan: Plan, source: Source) -> Callable[[TrainState], float]:
    """Sliced Wasserstein distance of samples to data, both fixed, so that checkpoints of a run can be ranked.

    With several seeds it is the mean of the members' distances.
    """
    n = min(SCORED, len(source))
    rows = np.random.default_rng(plan.seed).permutation(len(source))[:n]
    distance = jax.jit(sliced_wasserstein)

    def score(state: TrainState) -> float:
        real = to_range(source.take(rows)["x"], plan.spec)
        members = [_host(state)] if plan.seeds == 1 else [seeds.member(_host(state), i) for i in range(plan.seeds)]
        made = [sampling.sample(plan.method, one, n=n, seed=plan.seed) for one in members]
        return float(np.mean([distance(x, real, jax.random.key(plan.seed)) for x in made]))

    return score


def _drawer(plan: Plan, folder: Path) -> Callable[[int, TrainState], np.ndarray]:
    """Writes the pictures of fixed latents after a step and returns them as one sheet; of several seeds the first."""
    key = jax.random.key(plan.seed)
    z = draw_latents(fold(key, "pictures"), PICTURES, plan.method.latents)
    classes = len(plan.method.classes)
    labels = np.arange(PICTURES, dtype=np.int32) % classes if classes else None

    def draw(step: int, state: TrainState) -> np.ndarray:
        one = _host(state) if plan.seeds == 1 else seeds.member(_host(state), 0)
        params, extras, which = sampling.parameters(plan.method, one)
        x = sampling.generate(plan.method, params, extras, z, labels)
        path = folder / runs.SAMPLES / f"step_{step:07d}.png"
        write_samples(path, x, plan.spec, {"step": str(step), "seed": str(plan.seed), "parameters": which})
        return sheet(x, plan.spec)

    return draw


def _host(state: TrainState) -> TrainState:
    """The parts that sample, off the devices: generation then runs the same whatever the parallel mode."""
    return state.replace(
        params=jax.device_get(state.params),
        ema=jax.device_get(state.ema),
        extras=jax.device_get(state.extras),
        opt_state={},
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM; a second one does what it always did."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        del frame
        caught.append(number)
        signal.signal(number, before[number])

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
