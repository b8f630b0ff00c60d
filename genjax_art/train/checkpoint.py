"""Orbax checkpoints of a `TrainState`: asynchronous, the latest N and the best N kept, readable in every mode.

What is written is the plain tree without any device axis, so a checkpoint of a pmap run restores under a mesh,
on one device or in NumPy.
"""

import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art.errors import RunError
from genjax_art.train.state import TrainState

SCORE = "score"


class Checkpoints:
    """The `checkpoints` folder of a run. Use it in a `with`: leaving it waits for what is still being written.

    Kept are the `keep_latest` newest and the `keep_best` with the lowest score.
    """

    def __init__(self, folder: Path, *, keep_latest: int = 2, keep_best: int = 1):
        import orbax.checkpoint as ocp

        policies = ocp.checkpoint_managers.preservation_policy
        options = ocp.CheckpointManagerOptions(
            # a policy of our own: with `best_fn` alone the manager throws the latest step away
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_latest),
                    policies.BestN(get_metric_fn=_score, reverse=True, n=keep_best),
                ]
            ),
            best_fn=_score,  # else the manager writes no metrics
            best_mode="min",
        )
        self._ocp = ocp
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports each save in several lines
        try:
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except ValueError as error:  # of a score, which is read at once
            raise RunError(f"a score under {folder} cannot be read ({error}): delete its checkpoint") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def save(self, step: int, state: TrainState, score: float) -> None:
        """Starts writing `state`; returns when it has been copied from the devices, which may then reuse it."""
        tree = jax.tree.map(np.array, _plain(state))  # a copy: on CPU np.asarray may share memory with the state
        score = score if math.isfinite(score) else math.inf  # NaN would count as the best
        self._manager.save(step, args=self._ocp.args.StandardSave(tree), metrics={SCORE: score})

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def restore(self, state_like: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the latest), as NumPy arrays in the structure of `state_like`.

        Raises:
          RunError: no such checkpoint, one that is damaged, or one of another model.
        """
        steps = self.steps()
        folder = self._manager.directory
        if not steps:
            raise RunError(f"no checkpoint under {folder}; train first, or longer than to the first save")
        step = steps[-1] if step is None else step
        if step not in steps:
            raise RunError(f"no checkpoint of step {step} under {folder}; there are: {', '.join(map(str, steps))}")
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _plain(state_like))
        try:
            tree = self._manager.restore(step, args=self._ocp.args.StandardRestore(like))
        except (ValueError, KeyError, OSError) as error:
            _silence_abandoned_reads()
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise RunError(f"checkpoint {folder}/{step} cannot be read for this model: {reason}") from error
        _check_shapes(tree, like, f"checkpoint {folder}/{step} cannot be read for this model")
        return TrainState(**tree)

    def best_step(self) -> int | None:
        """The step with the lowest score, if any was scored."""
        return self._manager.best_step()


def _check_shapes(tree: dict[str, Any], like: dict[str, Any], refusal: str) -> None:
    """Raises RunError where an array is not of the expected shape: Orbax returns it as it is."""
    wanted = jax.tree.leaves(like)
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(tree), wanted, strict=True):
        if leaf.shape != want.shape:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(f"{refusal}: {name} has shape {leaf.shape}, not {want.shape}")


def _silence_abandoned_reads() -> None:
    """After a failed read Orbax abandons the others; they would report, each with a traceback, a closed loop."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if str(error) != "Event loop is closed":
            before(kind, error, trace)

    sys.excepthook = hook
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def _score(metrics: Mapping[str, float]) -> float:
    return metrics[SCORE]


def _plain(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}
