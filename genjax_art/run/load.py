"""A run folder as one value: what verbs, measures, benchmarks and notebooks draw from."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from genjax_art import sampling
from genjax_art.build import Plan, build_plan, components
from genjax_art.config import Experiment, from_json
from genjax_art.errors import RunError, UsageError
from genjax_art.latents import TYPICAL, Latents, Spread
from genjax_art.media.medium import Medium, Reading, find_medium, read
from genjax_art.objectives.method import Method, Weights
from genjax_art.parts import outside
from genjax_art.run import changes, layout
from genjax_art.run.unchanged import check_unchanged
from genjax_art.sampling import Which
from genjax_art.spec import ArraySpec, Key, Keys
from genjax_art.train.checkpoint import Checkpoints, Saved
from genjax_art.train.state import TrainState


@dataclass(frozen=True)
class Run:
    """A trained run: its experiment, built, and the state of one checkpoint (of one member) in host memory."""

    folder: Path
    experiment: Experiment
    plan: Plan
    state: TrainState
    which: Which = "default"  # parameters themselves (raw), moving averages (ema), or these where there are some

    @property
    def method(self) -> Method:
        return self.plan.method

    @property
    def spec(self) -> ArraySpec:
        return self.plan.spec

    @cached_property
    def medium(self) -> Medium:
        return find_medium(self.spec.kind)

    @cached_property
    def weights(self) -> Weights:
        """Parameters and extras of all players, on the device."""
        return jax.device_put(sampling.weights_of(self.state, self.which)[0])

    @property
    def step(self) -> int:
        return int(self.state.step)

    def about(self, seed: int | None = None) -> dict[str, str]:
        """What every file tells: preset, step, seed, and which parameters by kind and hash."""
        weights, kind = sampling.weights_of(self.state, self.which)
        seeded = {} if seed is None else {"seed": str(seed)}
        digest = sampling.parameter_hash(weights.params)
        return {
            "preset": self.plan.name,
            "step": str(self.step),
            **seeded,
            "parameters": kind,
            "parameter_hash": digest,
        }

    def labels(
        self, n: int, seed: int = 0, label: str | int | Int[np.ndarray, " n"] | None = None
    ) -> Int[np.ndarray, " n"] | None:
        """n labels: of one class by its name or number, or those given, or all classes in turn; None where the run is
        not conditional."""
        return sampling.labels_for(self.method, n, seed, label)

    def sample(
        self,
        n: int,
        seed: int = 0,
        label: str | int | Int[np.ndarray, " n"] | None = None,
        spread: Spread = TYPICAL,
    ) -> Float[np.ndarray, "n ..."]:
        """n examples [n, *shape] in the range of `spec`, the same for the same arguments; labels as of `labels`."""
        return sampling.sample(self.method, self.weights, n=n, seed=seed, label=label, spread=spread)

    def read(self, file: Path) -> Reading:
        """A file of the user's, as the files that the run was trained on were read, where it was trained on files."""
        known = self.experiment.data.options
        return read(file, self.spec, known if "folder" in known else None)

    def draw(self, key: Key, n: int, labels: Any = None, spread: Spread = TYPICAL) -> Latents:
        """n latents from the prior."""
        return sampling.draw(self.method, self.weights, key, n, labels, spread)

    def decode(self, z: Latents, labels: Any = None, keys: Keys | None = None) -> Float[np.ndarray, "n ..."]:
        """Examples for latents; with `keys`, one each, a decoder that draws draws, without it takes the likeliest."""
        return sampling.decode(self.method, self.weights, z, labels, keys)

    def encode(self, x: Float[np.ndarray, "n ..."], labels: Any = None) -> Latents:
        """The mean latents of examples."""
        return sampling.encode(self.method, self.weights, x, labels)

    def apply(self, name: str, *arrays: Any, then: Callable[[Any], Any] = lambda found: found) -> Any:
        """What the ability `name` of (weights, *arrays) gives, and `then` makes of it, batch first, piece by piece."""
        ability = self.ability(name, "choose another run")
        step = jax.jit(lambda weights, *arrays: then(ability(weights, *arrays)))
        return sampling.in_chunks(lambda *arrays: step(self.weights, *arrays), *arrays)

    def ability(self, name: str, remedy: str) -> Callable[..., Any]:
        """What only some methods can, by name (see `Method`)."""
        return sampling.ability(self.method, name, remedy)


def load_run(
    folder: Path | str,
    checkpoint: str | int = "latest",
    member: int = 0,
    *,
    which: Which = "default",
    trust: Sequence[str] = (),
) -> Run:
    """The run in a folder that `train.py` made.

    Args:
      folder: of the run.
      checkpoint: "latest", "best" (by score) or a step.
      member: of a run with several seeds: which one, counted from 0.
      which: "ema" moving averages of parameters, "raw" the parameters, "default" averages where there are some.
      trust: modules from outside this package that the run's config may name and that may be imported.

    Raises:
      UsageError: another word. RunError: no run, no such checkpoint or member, or an untrusted part.
    """
    folder = Path(folder)
    experiment, spec = read_experiment(folder, trust)
    plan = build_saved(experiment, spec, folder)
    state = load_state(plan, folder, str(checkpoint), member)
    plan = changes.plan_at(folder, plan, int(state.step))
    run = Run(folder, experiment, plan, state, which)
    sampling.weights_of(run.state, which)  # refused at once where there are no averages
    return run


def read_experiment(folder: Path, trust: Sequence[str] = ()) -> tuple[Experiment, ArraySpec]:
    """The experiment of a run folder, and what its arrays are. Nothing that the folder names is imported here.

    Raises:
      RunError: no run there, its config cannot be read, or it names parts of modules that are not in `trust`.
    """
    config, spec = layout.read_config(folder)
    try:
        experiment = from_json(config)
    except ValueError as error:
        raise RunError(f"{folder}: {error}") from error
    named = outside([spec.kind, *(component.name for _, component in components(experiment))])
    if unknown := [module for module in named if module not in trust]:
        raise RunError(
            f"{folder} uses code from outside this package, of the module {' and '.join(unknown)}: "
            f"if you trust it, add --trust {' '.join(unknown)}"
        )
    return experiment, spec


def build_saved(experiment: Experiment, spec: ArraySpec, folder: Path) -> Plan:
    """The plan of a run that anybody may have made: its state exists and is no larger than a machine.

    Raises:
      UsageError, RunError: the experiment of `folder` makes no sense or is too large.
    """
    try:
        plan = build_plan(experiment, spec)
    except (UsageError, RunError):
        raise
    except Exception as error:
        if outside(component.name for _, component in components(experiment)):
            raise  # a defect of the user's own code, which wants its traceback
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RunError(f"{folder / layout.CONFIG}: its parts do not fit arrays of {spec.shape} ({reason})") from error
    plan.state_shapes()
    return plan


def load_state(plan: Plan, folder: Path, checkpoint: str = "latest", member: int = 0) -> TrainState:
    """The state of a run at `latest`, `best` or a step, in host memory; of several seeds that of one `member`.

    Raises:
      UsageError: another word. RunError: no such checkpoint or member.
    """
    seeds = plan.seeds
    if not 0 <= member < seeds.count:
        raise RunError(f"{folder} has no member {member}: it was trained with --seeds {seeds.count}, counted from 0")
    if checkpoint not in ("latest", "best") and not checkpoint.isdecimal():
        raise UsageError(f"--checkpoint must be latest, best or a step, got {checkpoint!r}")
    if layout.last_step(folder) == 0:
        raise RunError(f"no checkpoint in {folder} yet: wait for its first save, or {layout.command_to_resume(folder)}")
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        saved = _read(checkpoints, plan, folder, checkpoint)
    written = changes.plan_at(folder, plan, int(saved.state.step))
    check_unchanged(saved.experiment, written.config, f"the checkpoint of step {int(saved.state.step)} in {folder}")
    return seeds.member(saved.state, member)


def _read(checkpoints: Checkpoints, plan: Plan, folder: Path, checkpoint: str) -> Saved:
    def like(step: int) -> TrainState:
        return changes.plan_at(folder, plan, step).state_shapes()

    if checkpoint == "latest":
        return checkpoints.read_newest(like, lambda line: print(f"warning: {line}", file=sys.stderr))
    step = int(checkpoint) if checkpoint.isdecimal() else checkpoints.best_step()
    if step is None:
        raise RunError(f"no checkpoint in {folder} has a score: use --checkpoint latest or a step")
    return checkpoints.read(like(step), step)
