"""Checkpoints of a `TrainState`: written in the background, the latest N and the best N kept, readable in every mode.

What is written is the plain tree without any device axis, so a checkpoint of a pmap run restores under a mesh, on one
device or in NumPy. Orbax writes the arrays; the folder around them is ours: it gets its name when it is whole (see
`manifest.py`), whatever characters are in that name, and an error of a write ends the run and nothing else.

    checkpoints/STEP/default/       the arrays
    checkpoints/STEP/metrics/metrics    {"score": ...}
    checkpoints/STEP/manifest.json      digests, and the experiment
"""

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax_art.errors import RunError
from genjax_art.files import LEFTOVER, part_name, plain_alias, refuse_link
from genjax_art.train.manifest import DamagedError, check_manifest, has_manifest, steps_in, write_manifest
from genjax_art.train.state import TrainState

ARRAYS, METRICS, SCORE = "default", "metrics", "score"
PATIENCE = 30.0  # seconds that a reader follows a writer who removes what it is about to read


class Saved(NamedTuple):
    """What a checkpoint holds."""

    state: TrainState
    experiment: Mapping[str, Any] | None  # None where it doesn't tell


class _VanishedError(RunError):
    """The checkpoint was removed while it was read."""


class Checkpoints:
    """The `checkpoints` folder of a run. Use it in a `with`: leaving it waits for what is still being written.

    Kept are the `keep_latest` newest and the `keep_best` with the lowest score. `experiment` is what each checkpoint
    tells about its origin, as JSON data. Only the one who holds the run's lock may save.
    """

    def __init__(
        self, folder: Path, *, keep_latest: int = 2, keep_best: int = 1, experiment: Mapping[str, Any] | None = None
    ):
        import orbax.checkpoint as ocp

        refuse_link(folder)
        self._folder = folder.absolute()
        self._keep_latest, self._keep_best, self._experiment = keep_latest, keep_best, experiment
        self._ocp = ocp
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax reports each save, and errors that it raises, too
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._run: int | None = None  # the folder around it when the run began, open: no other gets its number
        self._refused: dict[int, RunError] = {}  # damaged ones, which go as soon as a newer one is there

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self.wait()
        except RunError as other:
            if error is None:
                raise
            print(f"warning: {other}", file=sys.stderr)  # the first error is the one to be seen as such
        finally:
            self._thread.shutdown()
            if self._run is not None:
                os.close(self._run)
                self._run = None

    def prepare(self) -> None:
        """Makes the folder and tries whether it can be written, and removes what killed writers have left there.

        Raises:
          RunError: it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._run = os.open(self._folder.parent, os.O_RDONLY | os.O_CLOEXEC)
            trial = part_name(self._folder)
            trial.mkdir()
            leftovers = [
                p for p in self._folder.iterdir() if LEFTOVER.fullmatch(p.name) or "orbax-checkpoint" in p.name
            ]
        except OSError as error:
            raise RunError(f"no checkpoint can be written to {self._folder}: {_reason(error)}") from error
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)

    def save(self, step: int, state: TrainState, score: float) -> None:
        """Starts writing `state`; returns when it has been copied from the devices, which may then reuse it.

        Raises:
          RunError: the checkpoint before could not be written.
        """
        self.wait()
        if jax.process_index() != 0:  # all processes have the same state
            return
        tree = jax.tree.map(np.array, _plain(state))  # a copy: on CPU np.asarray may share memory with the state
        score = score if math.isfinite(score) else math.inf  # NaN would count as the best
        self._writing = self._thread.submit(self._write, step, tree, score)

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
          RunError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def steps(self) -> list[int]:
        """The steps of whole checkpoints, by the names in the folder."""
        self.wait()
        return steps_in(self._folder)

    def restore(self, state_like: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the latest), as NumPy arrays in the structure of `state_like`.

        Raises:
          RunError: no such checkpoint, one that is damaged, or one of another model.
        """
        return self.read(state_like, step).state

    def read(self, state_like: TrainState, step: int | None = None) -> Saved:
        """What the checkpoint of `step` (default: the latest) holds; see `restore`."""
        steps = self.steps()
        if not steps:
            raise RunError(f"no checkpoint under {self._folder}; train first, or longer than to the first save")
        step = steps[-1] if step is None else step
        folder = self._folder / str(step)
        try:
            with _undisturbed(folder):
                experiment = check_manifest(folder, step)
                return Saved(self._load(folder, step, state_like), experiment)
        except _VanishedError:
            there = ", ".join(map(str, steps))
            raise RunError(f"no checkpoint of step {step} under {self._folder}; there are: {there}") from None

    def read_newest(self, like: Callable[[int], TrainState], warn: Callable[[str], None]) -> Saved:
        """What the newest checkpoint holds that is intact; `warn` is told of newer ones that are not.

        `like(step)` gives shapes and dtypes of the state of that step.

        Follows a run that saves and removes meanwhile.

        Raises:
          RunError: there is none, or it is one of another model.
        """
        until = time.monotonic() + PATIENCE
        while True:
            steps = [step for step in self.steps() if step not in self._refused]
            if not steps and self._refused:
                raise next(iter(self._refused.values()))
            step = steps[-1] if steps else None
            try:
                saved = self.read(like(step or 0), step)
            except (RunError, OSError) as error:
                folder = self._folder / str(step)
                if step is None or not (isinstance(error, DamagedError) or not folder.exists()):
                    raise
                if folder.exists():
                    self._refused[step] = DamagedError(str(error))
                elif time.monotonic() > until:
                    raise
                time.sleep(0.02)
                continue
            for refusal in self._refused.values():
                warn(f"{refusal}; the newest intact one is taken instead, of step {step}")
            return saved

    def best_step(self) -> int | None:
        """The step with the lowest score, if any was scored."""
        scores = {step: score for step in self.steps() if (score := self._score(step)) is not None}
        return min(scores, key=lambda step: (scores[step], -step), default=None)

    def _score(self, step: int) -> float | None:
        try:
            score = json.loads((self._folder / str(step) / METRICS / METRICS).read_bytes())[SCORE]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None  # without one, or damaged, which is seen when it is read
        return float(score) if isinstance(score, int | float) and not math.isnan(score) else None

    def _load(self, folder: Path, step: int, state_like: TrainState) -> TrainState:
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _plain(state_like))
        refusal = f"checkpoint {folder} cannot be read for this model"
        try:
            with plain_alias(folder) as plain, _orbax(self._ocp) as orbax:
                _check_size(orbax.metadata(plain / ARRAYS).item_metadata.tree, like)
                tree = orbax.restore(plain / ARRAYS, args=self._ocp.args.StandardRestore(like))
        except Exception as error:  # whatever a library finds in files that are not what it has written
            kind = RunError if has_manifest(folder) else DamagedError  # intact, so of another model; else who knows
            raise kind(f"{refusal}: {_reason(error)}") from error
        _check_shapes(tree, like, refusal)
        if int(tree["step"]) != step:
            raise DamagedError(f"{refusal}: it is of step {int(tree['step'])}")
        return TrainState(**tree)

    def _write(self, step: int, tree: dict[str, Any], score: float) -> None:
        """Writes one checkpoint, gives it its name, and removes those that are not to be kept any more."""
        part = part_name(self._folder)
        try:
            self._check_place()
            self._folder.mkdir(exist_ok=True)  # somebody may have deleted all checkpoints
            part.mkdir()
            with plain_alias(part) as plain, _orbax(self._ocp) as orbax:
                orbax.save(plain / ARRAYS, args=self._ocp.args.StandardSave(tree))
            (part / METRICS).mkdir()
            (part / METRICS / METRICS).write_text(json.dumps({SCORE: score}), encoding="utf-8")
            write_manifest(part, step, self._experiment)
            self._check_place()
            if (self._folder / str(step)).exists():  # a damaged one, whoever reads it
                self._remove(step, force=True)
            part.rename(self._folder / str(step))
        except Exception as error:  # OSError, or what Orbax and TensorStore make of it
            _discard(part)
            with contextlib.suppress(OSError):  # what Orbax has made anew where the run's folder was moved away
                if [*self._folder.parent.iterdir()] == [self._folder]:  # and not what another run has made there
                    self._folder.rmdir()
                    self._folder.parent.rmdir()
            steps = steps_in(self._folder)
            kept = f"that of step {steps[-1]} is kept" if steps else "there is none before it"
            raise RunError(
                f"checkpoint {self._folder / str(step)} cannot be written ({_reason(error)}); {kept}"
            ) from error
        self._clean_up(step)

    def _check_place(self) -> None:
        """Raises FileNotFoundError where the run's folder is no longer the one in which the run began."""
        if self._run is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._run), self._folder.parent.stat()):
                    return
            raise FileNotFoundError(errno.ENOENT, "the folder was moved or deleted")

    def _clean_up(self, written: int) -> None:
        for step in [*self._refused]:
            if step != written:
                self._remove(step)
        self._refused.clear()
        steps = steps_in(self._folder)
        scores = {step: score for step in steps if (score := self._score(step)) is not None}
        best = sorted(scores, key=lambda step: (scores[step], -step))[: self._keep_best]
        for step in set(steps) - {*steps[-self._keep_latest :], *best, written}:
            self._remove(step)

    def _remove(self, step: int, *, force: bool = False) -> None:
        """Removes a checkpoint, unless someone reads it: then the next clean-up does."""
        folder, gone = self._folder / str(step), part_name(self._folder)
        with contextlib.suppress(OSError), _unread(folder) as unread:
            if unread or force:
                folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def _discard(part: Path) -> None:
    """Removes what a failed write has left, and what the writes that Orbax has abandoned then add to it."""
    gone = 0
    for _ in range(50):
        gone = 0 if part.exists() else gone + 1
        if gone == 3:
            return
        shutil.rmtree(part, ignore_errors=True)
        time.sleep(0.02)


@contextlib.contextmanager
def _unread(folder: Path) -> Iterator[bool]:
    """Whether nobody reads the checkpoint in `folder`, nor begins to. File systems without locks say that it is so."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unread = True
    except OSError as error:
        unread = not isinstance(error, BlockingIOError)
    try:
        yield unread
    finally:
        os.close(handle)


@contextlib.contextmanager
def _undisturbed(folder: Path) -> Iterator[None]:
    """Keeps a writer from removing the checkpoint in `folder` as long as it is read.

    Raises:
      _VanishedError: it was removed before.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _VanishedError(f"checkpoint {folder} is gone") from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    except (RunError, OSError) as error:
        if not folder.exists():
            raise _VanishedError(f"checkpoint {folder} is gone") from error
        raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def _orbax(ocp: Any) -> Iterator[Any]:
    """A writer and reader of arrays, of this process alone."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me))
    options = alone if jax.process_count() > 1 else ocp.options.MultiprocessingOptions()
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    checkpointer = ocp.Checkpointer(handler, multiprocessing_options=options)
    speak = _silence_abandoned()
    try:
        yield checkpointer
        speak()
    finally:
        checkpointer.close()


def _reason(error: BaseException) -> str:
    """An error in few words: what the system says, or its first line."""
    words = str(error).strip().splitlines()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO):
        if os.strerror(number) in str(error):  # within what TensorStore tells of its keys and files
            return os.strerror(number)
    return words[0][:200] if words else type(error).__name__


def _check_size(stored: Any, like: dict[str, Any]) -> None:
    """Raises ValueError where arrays, or their pieces, are far larger than a state: a small file can claim that."""
    largest = 4 * sum(leaf.size for leaf in jax.tree.leaves(like)) + 2**20
    arrays = jax.tree.leaves(stored)
    pieces = [math.prod(array.storage.chunk_shape) for array in arrays if getattr(array, "storage", None)]
    numbers = max(sum(math.prod(array.shape) for array in arrays), *pieces, 0)
    if numbers > largest:
        raise ValueError(f"it claims to hold {numbers:,} numbers, far more than this model has")


def _check_shapes(tree: dict[str, Any], like: dict[str, Any], refusal: str) -> None:
    """Raises RunError where an array is not of the expected shape: Orbax returns it as it is."""
    wanted = jax.tree.leaves(like)
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(tree), wanted, strict=True):
        if leaf.shape != want.shape:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(f"{refusal}: {name} has shape {leaf.shape}, not {want.shape}")


def _silence_abandoned() -> Callable[[], None]:
    """After a failed read or write Orbax abandons the others, which would each report a closed loop and a traceback.

    Returns what ends the silence where nothing has failed.
    """
    before, level = sys.unraisablehook, logging.getLogger("asyncio").level

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            before(found)

    def undo() -> None:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before
        logging.getLogger("asyncio").setLevel(level)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    return undo


def _plain(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}
