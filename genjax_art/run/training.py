"""A whole training run in a folder: state, loop, logs, pictures, scores, checkpoints, interruption, resumption."""

import dataclasses
import errno
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jax
import numpy as np

from genjax_art import interrupts, sampling
from genjax_art.build import Plan
from genjax_art.data.content import Content, content_of
from genjax_art.data.contract import Source
from genjax_art.errors import RunError
from genjax_art.files import quoted
from genjax_art.keys import fold, key_of
from genjax_art.latents import example_keys
from genjax_art.media import medium
from genjax_art.media.image import write_png
from genjax_art.run import changes, layout
from genjax_art.run.feed import data_of, steps_per_call, stream_of
from genjax_art.run.lock import Lock, lock_folder
from genjax_art.run.scores import scorer
from genjax_art.run.unchanged import check_unchanged
from genjax_art.train import curves
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.compile import Compiled, How, compile_step
from genjax_art.train.finite import ROLLBACKS, NotFinite, check_state, rollbacks_of, skipping, with_rollbacks
from genjax_art.train.logs import RunLog, run_log
from genjax_art.train.loop import Hook, train
from genjax_art.train.process import check_alone
from genjax_art.train.resident import HOST, Resident
from genjax_art.train.rows import METRICS_FILE, read_metrics, read_pending, write_pending
from genjax_art.train.state import TrainState, create_state
from genjax_art.train.step import Step, make_step
from genjax_art.train.watch import collapse_watch

PICTURES = 64  # in a sample grid


def initial_state(plan: Plan) -> TrainState:
    """The state before step 1, a pure function of the plan.

    With several seeds it has that many members (see `train/seeds.py`).

    Raises:
      RunError: options of the parts make no network.
    """

    def init(seed: jax.Array) -> TrainState:
        params, extras = plan.method.init(fold(key_of(seed), "init"))
        return create_state(plan.method.players, params, extras, seed=seed, ema=plan.ema)

    try:
        state = plan.seeds.create(init)
    except Exception:
        plan.state_shapes()  # says in one line why there is no such state, where that is so
        raise
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        if leaf.size == 0:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(f"{name} of {plan.name} has no numbers, {leaf.shape}: sizes (--model.OPTION) are at least 1")
    return state


def compile_plan(plan: Plan, how: How | None, data: Resident = HOST) -> Compiled:
    """The plan's step, for all its seeds at once; with `data` on the device, where they are given.

    Raises:
      RunError: several seeds on several devices, or a batch that the micro-batches cannot share equally.
    """
    how = plan.seeds.how(how)
    check_micro_batches(plan, how)
    return compile_step(step_of(plan), how, data=data)


def step_of(plan: Plan) -> Step:
    """The plan's step, for all its seeds at once."""
    step = make_step(plan.method.players, ema=plan.ema, micro_batches=plan.run.micro_batches)
    return plan.seeds.lift(skipping(step) if plan.run.on_nan == "skip" else step)


def check_micro_batches(plan: Plan, how: How) -> None:
    """Raises RunError where the batch, or a device's share of it, cannot be cut into the micro-batches."""
    devices = {"jit": 1, "pmap": jax.local_device_count(), "mesh": jax.device_count()}[how]
    count = plan.run.micro_batches
    if plan.run.batch_size % devices == 0 and (rows := plan.run.batch_size // devices) % count:
        share = f", {rows} on each of {devices} devices," if devices > 1 else ""
        raise RunError(
            f"--batch-size {plan.run.batch_size}{share} is not a multiple of --micro-batches {count}: change either"
        )


def run(
    plan: Plan,
    source: Source,
    folder: Path,
    *,
    how: How | None = None,
    resume: bool = False,
    changed: Sequence[str] = (),
    content: Content | None = None,
) -> int:
    """Trains in `folder`; returns 0, or 128 + the number of the signal that ended it early (after a checkpoint).

    `changed` names fields of the experiment that may differ from those of the run that is resumed. `content` is that of
    `source`, where it is known (reading all data takes its time).

    Raises:
      RunError: the folder holds a run and `resume` is not asked for, or holds none and it is; a non-finite loss; this
        is one of several processes.
    """
    check_alone()
    layout.check_folder(folder, plan.run.steps, resume=resume)
    score = scorer(plan, source)
    data = data_of(plan, source)
    compiled = compile_plan(plan, how, data)
    # refused before anything is written where the devices cannot share the batch equally
    compiled.put_batch({"x": np.zeros((plan.run.batch_size, 1), np.float32)})
    with _room(folder), ExitStack() as stack:
        caught = stack.enter_context(interrupts.collecting())
        lock = stack.enter_context(lock_folder(folder))
        checkpoints = stack.enter_context(_checkpoints(plan, folder))
        state = _first_state(plan, folder, checkpoints, resume, changed)
        checkpoints.prepare()
        start = int(state.step)
        config = {**plan.config, layout.CONTENT: (content or content_of(source)).to_json()}
        # only now: a checkpoint that cannot be read changes nothing
        layout.write_config(folder, changes.with_history(folder, config, start))
        began = time.monotonic()
        while True:
            try:
                state = _train_from(state, plan, source, data, folder, compiled, checkpoints, lock, caught, score)
                break
            except NotFinite as error:
                state = _rolled_back(error, state, plan, folder, checkpoints)
        seconds = time.monotonic() - began
        checkpoints.wait()
        lock.check()
        curves.draw_curves(read_metrics(folder / METRICS_FILE), folder / layout.CURVES)
    print(_last_line(folder, start, int(state.step), plan.run.steps, seconds))
    return 128 + caught[0] if caught else 0


def _train_from(
    state: TrainState,
    plan: Plan,
    source: Source,
    data: Resident,
    folder: Path,
    compiled: Compiled,
    checkpoints: Checkpoints,
    lock: Lock,
    caught: list[int],
    score: Callable[[TrainState], float],
) -> TrainState:
    """Trains on from `state`, with logs, pictures and checkpoints; returns the state at the end or at a signal.

    Raises:
      NotFinite: a number is not finite. RunError: the data ends.
    """
    start = int(state.step)
    with ExitStack() as stack:
        log = stack.enter_context(
            run_log(folder, total_steps=plan.run.steps, batch_size=plan.images_per_step, start_step=start)
        )
        since_log = read_pending(folder, start, list(log.rows)) if start else []
        stream = stream_of(plan, source, start, data)
        stack.callback(stream.close)
        return train(
            compiled,
            compiled.put_state(state),
            stream,
            steps=plan.run.steps,
            log=_logger(log, lock),
            log_every=plan.run.log_every,
            hooks=[
                Hook(plan.run.sample_every, _sampler(plan, folder, log)),
                Hook(plan.run.save_every, _saver(score, checkpoints, folder, log, since_log, lock)),
            ],
            stop=_stopper(log, caught),
            since_log=since_log,
            steps_per_call=steps_per_call(plan),
        )


def _rolled_back(error: NotFinite, state: TrainState, plan: Plan, folder: Path, checkpoints: Checkpoints) -> TrainState:
    """The newest good state after `error` came up in a run that began at `state`, with new noise.

    Raises:
      NotFinite: `error`, where no rollback is asked for, or after the last one.
    """
    if plan.run.on_nan != "rollback":
        checkpoints.wait()
        if checkpoints.steps():
            raise error
        what = str(error).partition(";")[0]
        raise NotFinite(f"{what}; nothing was saved before it: train anew with a lower learning rate or clipping")
    rollbacks = 1 + rollbacks_of(plan.run.seed, int(np.ravel(state.seed)[0]))
    if rollbacks > ROLLBACKS:
        raise NotFinite(f"{error} (after {ROLLBACKS} rollbacks)") from error
    checkpoints.wait()
    good = _newest(plan, folder, checkpoints) if checkpoints.steps() else initial_state(plan)
    what = str(error).partition(";")[0]
    print(f"{what}: back to step {int(good.step)} with new noise ({rollbacks} of {ROLLBACKS})", file=sys.stderr)
    return with_rollbacks(jax.device_get(good), plan.run.seed, rollbacks)


def _checkpoints(plan: Plan, folder: Path) -> Checkpoints:
    keep = {"keep_latest": plan.run.keep_latest, "keep_best": plan.run.keep_best}
    return Checkpoints(folder / layout.CHECKPOINTS, experiment=plan.config, **keep)


def _first_state(
    plan: Plan, folder: Path, checkpoints: Checkpoints, resume: bool, changed: Sequence[str]
) -> TrainState:
    """That of the newest checkpoint that can be read, or one from step 0, also where a run was ended before it saved.

    Raises:
      RunError: no checkpoint can be read, or what is in the folder is of another experiment.
    """
    if layout.is_run(folder):
        config, spec = layout.read_config(folder)
        check_unchanged({**config, "spec": dataclasses.asdict(spec)}, plan.config, f"the run in {folder}", changed)
    if not checkpoints.steps():
        if layout.is_run(folder):
            _warn(f"{folder} has no checkpoint yet: the run begins at step 0")
        return initial_state(plan)
    assert resume, "check_folder has refused to begin where there are checkpoints"
    state = _newest(plan, folder, checkpoints)
    if int(state.step) >= plan.run.steps:
        raise RunError(f"{folder} is at step {int(state.step)} already; ask for more than that with --steps")
    return state


def _newest(plan: Plan, folder: Path, checkpoints: Checkpoints) -> TrainState:
    """The newest checkpoint that can be read, as a state of `plan`, whatever experiment it was written under.

    Raises:
      RunError: there is none, or it is of another experiment than the run's history tells.
    """
    saved = checkpoints.read_newest(lambda step: changes.plan_at(folder, plan, step).state_shapes(), _warn)
    step = int(saved.state.step)
    written, what = changes.plan_at(folder, plan, step), f"the checkpoint of step {step} in {folder}"
    check_unchanged(saved.experiment, written.config, what)
    return changes.carried_over(saved.state, written, plan, what, lambda: initial_state(plan))


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Raises RunError where the disk takes no more, with the command that goes on when it does."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
            raise
        remedy = f"checkpoints are kept; make room and go on: {layout.command_to_resume(folder)}"
        raise RunError(f"{folder} cannot be written ({error.strerror}); {remedy}") from error


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)


def _logger(log: RunLog, lock: Lock) -> Callable[[int, Mapping[str, float]], None]:
    """Writes a row of metrics, shows progress, and warns of mode collapse."""
    watch = collapse_watch(lambda line: print(line, file=sys.stderr, flush=True))

    def on_log(step: int, metrics: Mapping[str, float]) -> None:
        lock.check()
        log.scalars(step, metrics)
        log.progress(step, metrics)
        watch(step, metrics)

    return on_log


def _sampler(plan: Plan, folder: Path, log: RunLog) -> Callable[[int, TrainState], None]:
    """Draws pictures from fixed latents into the run folder and the log."""
    draw = _drawer(plan, folder)
    return lambda step, state: log.image(step, "samples", draw(step, state))


def _saver(
    score: Callable[[TrainState], float],
    checkpoints: Checkpoints,
    folder: Path,
    log: RunLog,
    since_log: list[dict[str, float]],
    lock: Lock,
) -> Callable[[int, TrainState], None]:
    """Saves a checkpoint with the score of its samples, if all of it is finite, and the metrics since the log."""

    def save(step: int, state: TrainState) -> None:
        lock.check()
        check_state(jax.device_get(state))
        write_pending(folder, step, log.digest(), since_log, checkpoints.steps())
        checkpoints.save(step, state, score(_host(state)))

    return save


def _stopper(log: RunLog, caught: list[int]) -> Callable[[int], bool]:
    """Whether a signal asks to stop, after the progress was shown."""

    def stop(step: int) -> bool:
        log.progress(step)
        return bool(caught)

    return stop


def _last_line(folder: Path, start: int, done: int, steps: int, seconds: float) -> str:
    """What a run from step `start` to `done` of `steps` made, and the command that comes next."""
    how, command = "trained", f"Sample: python sample.py {quoted(folder)}"
    if done < steps:
        how, command = "stopped", f"Go on: {layout.command_to_resume(folder)}"
    return (
        f"{quoted(folder)}: {how} at step {done} of {steps} ({seconds:.0f} s for {done - start} steps); "
        f"checkpoints, samples, curves.png, metrics.jsonl. {command}"
    )


def _drawer(plan: Plan, folder: Path) -> Callable[[int, TrainState], np.ndarray]:
    """Writes the pictures of fixed latents after a step and returns them as one sheet; of several seeds the first."""
    key = key_of(plan.run.seed)
    classes = len(plan.method.classes)
    labels = np.arange(PICTURES, dtype=np.int32) % classes if classes else None
    keys = example_keys(fold(key, "decoder"), PICTURES)

    def draw(step: int, state: TrainState) -> np.ndarray:
        weights, which = sampling.weights_of(plan.seeds.member(_host(state)))
        z = sampling.draw(plan.method, weights, fold(key, "pictures"), PICTURES, labels)
        x = sampling.decode(plan.method, weights, z, labels, keys)
        path = folder / layout.SAMPLES / f"step_{step:07d}.png"
        about = {"step": str(step), "seed": str(plan.run.seed), "parameters": which}
        picture = medium.sheet(x, plan.spec)
        write_png(path, picture, about)
        return picture

    return draw


def _host(state: TrainState) -> TrainState:
    """The parts that sample, off the devices: generation then runs the same whatever the parallel mode."""
    return state.replace(
        params=jax.device_get(state.params),
        ema=jax.device_get(state.ema),
        extras=jax.device_get(state.extras),
        opt_state={},
    )
