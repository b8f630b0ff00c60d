"""A whole training run in a folder: state, loop, logs, pictures, scores, checkpoints, interruption, resumption."""

import signal
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art import sampling
from genjax_art.build import Plan
from genjax_art.data.batches import batches, to_range
from genjax_art.data.contract import Source
from genjax_art.keys import fold
from genjax_art.latents import example_keys
from genjax_art.media import medium
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein
from genjax_art.run import layout, world
from genjax_art.train import curves
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.compile import Compiled, How, compile_step
from genjax_art.train.logs import METRICS_FILE, RunLog, read_metrics, run_log
from genjax_art.train.loop import Hook, train
from genjax_art.train.state import TrainState, create_state
from genjax_art.train.step import make_step
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
    return plan.seeds.create(init, options)


def compile_plan(plan: Plan, how: How | None) -> Compiled:
    """The plan's step, for all its seeds at once.

    Raises:
      RunError: several seeds on several devices.
    """
    step = make_step(plan.method.players, ema=plan.ema)
    return compile_step(plan.seeds.lift(step), plan.seeds.how(how))


def stream_of(plan: Plan, source: Source, start: int) -> Generator[dict[str, np.ndarray], None, None]:
    """This process's batches from step `start` on; with several seeds each member's are those of its own seed."""

    def of_seed(seed: int) -> Generator[dict[str, np.ndarray], None, None]:
        return batches(
            source,
            batch_size=plan.images_per_step,
            seed=seed,
            start=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    return plan.seeds.stream(of_seed)


def run(
    plan: Plan,
    source: Source,
    folder: Path,
    *,
    how: How | None = None,
    resume: bool = False,
    changed: Collection[str] = (),
) -> int:
    """Trains in `folder`; returns 0, or 128 + the number of the signal that ended it early (after a checkpoint).

    What was `changed` on resuming is kept in the config's history.

    Raises:
      RunError: the folder holds a run and `resume` is not asked for, or holds none and it is; a non-finite loss.
    """
    layout.check_folder(folder, plan.run.steps, resume=resume)
    compiled = compile_plan(plan, how)
    # refused before anything is written where the devices cannot share the batch equally
    compiled.put_batch({"x": np.zeros((plan.run.batch_size // jax.process_count(), 1), np.float32)})
    with ExitStack() as stack:
        caught = stack.enter_context(_signals())
        fresh = None if resume else initial_state(plan)
        checkpoints = stack.enter_context(
            Checkpoints(folder / layout.CHECKPOINTS, keep_latest=plan.run.keep_latest, keep_best=plan.run.keep_best)
        )
        state = checkpoints.restore(plan.state_shapes()) if fresh is None else fresh
        extra = world.extra_of(folder, source, changed)
        layout.write_config(
            folder, {**plan.config, **extra}
        )  # only now: a checkpoint that cannot be read changes nothing
        start = int(state.step)
        log = stack.enter_context(
            run_log(folder, total_steps=plan.run.steps, batch_size=plan.images_per_step, start_step=start)
        )
        stream = stream_of(plan, source, start)
        stack.callback(stream.close)
        began = time.monotonic()
        state = train(
            compiled,
            compiled.put_state(state),
            stream,
            steps=plan.run.steps,
            log=_logger(log),
            log_every=plan.run.log_every,
            hooks=[
                Hook(plan.run.sample_every, _sampler(plan, folder, log)),
                Hook(plan.run.save_every, _saver(plan, source, checkpoints)),
            ],
            stop=_stopper(log, caught),
        )
        seconds = time.monotonic() - began
    curves.draw_curves(read_metrics(folder / METRICS_FILE), folder / layout.CURVES)
    print(_last_line(folder, start, int(state.step), plan.run.steps, seconds))
    return 128 + caught[0] if caught else 0


def _logger(log: RunLog) -> Callable[[int, Mapping[str, float]], None]:
    """Writes a row of metrics, shows progress, and warns of mode collapse."""
    watch = collapse_watch(lambda line: print(line, file=sys.stderr, flush=True))

    def on_log(step: int, metrics: Mapping[str, float]) -> None:
        log.scalars(step, metrics)
        log.progress(step, metrics)
        watch(step, metrics)

    return on_log


def _sampler(plan: Plan, folder: Path, log: RunLog) -> Callable[[int, TrainState], None]:
    """Draws pictures from fixed latents into the run folder and the log."""
    draw = _drawer(plan, folder)
    return lambda step, state: log.image(step, "samples", draw(step, state))


def _saver(plan: Plan, source: Source, checkpoints: Checkpoints) -> Callable[[int, TrainState], None]:
    """Saves a checkpoint with the score of its samples."""
    score = _scorer(plan, source)
    return lambda step, state: checkpoints.save(step, state, score(state))


def _stopper(log: RunLog, caught: list[int]) -> Callable[[int], bool]:
    """Whether a signal asks to stop, after the progress was shown."""

    def stop(step: int) -> bool:
        log.progress(step)
        return bool(caught)

    return stop


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
    seed, n = plan.run.seed, min(SCORED, len(source))
    rows = np.random.default_rng(seed).permutation(len(source))[:n]
    distance = jax.jit(sliced_wasserstein)

    def score(state: TrainState) -> float:
        real = to_range(source.take(rows)["x"], plan.spec)
        members = [sampling.weights_of(one)[0] for one in plan.seeds.members(_host(state))]
        made = [sampling.sample(plan.method, weights, n=n, seed=seed) for weights in members]
        return float(np.mean([distance(x, real, jax.random.key(seed)) for x in made]))

    return score


def _drawer(plan: Plan, folder: Path) -> Callable[[int, TrainState], np.ndarray]:
    """Writes the pictures of fixed latents after a step and returns them as one sheet; of several seeds the first."""
    key = jax.random.key(plan.run.seed)
    classes = len(plan.method.classes)
    labels = np.arange(PICTURES, dtype=np.int32) % classes if classes else None
    keys = example_keys(fold(key, "decoder"), PICTURES)

    def draw(step: int, state: TrainState) -> np.ndarray:
        weights, which = sampling.weights_of(plan.seeds.member(_host(state)))
        z = sampling.draw(plan.method, weights, fold(key, "pictures"), PICTURES, labels)
        x = sampling.decode(plan.method, weights, z, labels, keys)
        path = folder / layout.SAMPLES / f"step_{step:07d}.png"
        about = {"step": str(step), "seed": str(plan.run.seed), "parameters": which}
        medium.write(path, x, plan.spec, about)
        return medium.sheet(x, plan.spec)

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
