"""Composition root: builds everything from an experiment, which a preset or the command line has made.

Presets, models, objectives and data sets are found by being there, one file each, or outside (see `parts.py`);
optimizers and schedules by their names in `train/optim.py`.
"""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, get_args

import jax
import optax

from genjax_art import models, objectives, parts, presets
from genjax_art.config import Component, Experiment, Optimizer, RunOptions, to_json
from genjax_art.data.contract import DataError, Source
from genjax_art.data.open import find_set, open_source
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.models import precision
from genjax_art.objectives.method import Method
from genjax_art.parts import outside
from genjax_art.spec import ArraySpec
from genjax_art.train.optim import OPTIMIZERS, SCHEDULES, check_optimizer, clipped, half_life
from genjax_art.train.seeds import Seeds
from genjax_art.train.state import TrainState, state_shapes
from genjax_art.train.step import Decay, batches_per_step

DEFAULT_PRESET = "dcgan-small"
LARGEST_STATE = LARGEST_BATCH = 2**31  # numbers


@dataclass(frozen=True)
class Plan:
    """An experiment, built: what a training or a sampling needs. Plain values and functions, no config."""

    name: str
    config: Mapping[str, Any]  # JSON, for the run folder
    method: Method
    spec: ArraySpec
    ema: Mapping[str, Decay]
    run: RunOptions

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.run.seed, self.run.seeds)

    @property
    def images_per_step(self) -> int:
        """Images of the data that a step takes: a batch for each update of the player that is updated most often."""
        return self.run.batch_size * batches_per_step(self.method.players)

    def state_shapes(self) -> TrainState:
        """Shapes and dtypes of the state, for restoring one without computing anything.

        Raises:
          RunError: there is no such state, for options that make no sense together, or it is far too large.
        """
        return self._shapes

    @cached_property
    def _shapes(self) -> TrainState:
        try:
            shapes = self.seeds.shapes(state_shapes(self.method.players, self.method.init, self.ema))
        except Exception as error:
            if self.outside:  # a defect of the user's own code, which wants its traceback
                raise
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"model and objective of {self.name} cannot be built: {reason}") from error
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        if (count := sum(prod(leaf.shape) for _, leaf in leaves)) > LARGEST_STATE:
            path, leaf = max(leaves, key=lambda pair: prod(pair[1].shape))
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(
                f"model {self.config['model']['name']} is too large: its training state has {count:,} numbers, more "
                f"than {LARGEST_STATE:,}; the largest part is {name} {leaf.shape}"
            )
        return shapes

    @property
    def outside(self) -> bool:
        """Whether parts of it are of modules from outside this package."""
        return bool(outside(part["name"] for part in (self.config["model"], self.config["objective"])))


def preset_names() -> list[str]:
    return [module.name.replace("_", "-") for module in pkgutil.iter_modules(presets.__path__)]


def load_preset(name: str) -> Experiment:
    """The experiment of a preset, by name or by the path of the user's own preset file (Python).

    Raises:
      UsageError: no such preset, or a file without an `EXPERIMENT`.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no preset file {name}; or name one of: {', '.join(preset_names())}")
        module_spec = importlib.util.spec_from_file_location(path.stem, path)
        assert module_spec is not None and module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
    elif name in preset_names():
        module = importlib.import_module(f"{presets.__name__}.{name.replace('-', '_')}")
    else:
        raise unknown("preset", name, preset_names())
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"preset {name} must define EXPERIMENT, a genjax_art.config.Experiment")
    return experiment


def find_part(kind: str, name: str) -> parts.Part:
    """The builder of a component: `kind` is model, objective, data set, optimizer or schedule.

    Raises:
      UsageError: there is none.
    """
    tables: Mapping[str, Mapping[str, Callable[..., Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    if kind == "data set":
        return find_set(name)
    if kind not in tables:
        return parts.find({"model": models, "objective": objectives}[kind], name, kind=kind)
    if name not in tables[kind]:
        raise unknown(kind, name, tables[kind])
    return tables[kind][name]


def components(experiment: Experiment) -> Iterator[tuple[str, Component]]:
    """Every component with its kind: what may name a part from outside."""
    yield "model", experiment.model
    yield "objective", experiment.objective
    yield "data set", experiment.data
    for optimizer in experiment.optimizers.values():
        yield "optimizer", optimizer.transform
        yield "schedule", optimizer.schedule


def complete(experiment: Experiment) -> Experiment:
    """The experiment with every option of every component spelt out.

    Raises:
      UsageError: an unknown component or option, or a value that is not among an option's choices.
    """

    def full(kind: str, component: Component) -> Component:
        part = find_part(kind, component.name)
        values = parts.complete(part, kind, component.name, component.options)
        # paths as words: as JSON keeps them, and as a resumed run is compared
        return Component(component.name, {k: str(v) if isinstance(v, Path) else v for k, v in values.items()})

    optimizers = {
        player: dataclasses.replace(o, transform=full("optimizer", o.transform), schedule=full("schedule", o.schedule))
        for player, o in experiment.optimizers.items()
    }
    return dataclasses.replace(
        experiment,
        model=full("model", experiment.model),
        objective=full("objective", experiment.objective),
        optimizers=optimizers,
        data=full("data set", experiment.data),
    )


def data_places(experiment: Experiment) -> tuple[str, ...]:
    """The options of the data set that say where it lies, and not what it is: those that may be paths."""
    known = parts.options(find_set(experiment.data.name))
    return tuple(name for name, option in known.items() if option.type is Path or Path in get_args(option.type))


def placed(experiment: Experiment) -> Experiment:
    """The experiment with the places of its data as absolute paths: they hold from every directory."""
    options = dict(experiment.data.options)
    for name in data_places(experiment):
        if options.get(name) is not None:
            options[name] = str(Path(options[name]).expanduser().absolute())
    return dataclasses.replace(experiment, data=Component(experiment.data.name, options))


def on_data_of(experiment: Experiment, other: Experiment) -> Experiment:
    """The experiment on the data of another one, with their sides and channels, not those that its preset asks for."""
    return dataclasses.replace(experiment, data=other.data)


def build_source(experiment: Experiment, split: str | None = None) -> Source:
    """The data of an experiment (of another split, if given).

    Raises:
      UsageError: unknown options. DataError: the data cannot be had.
    """
    other = {} if split is None else {"split": split}
    source = open_source(experiment.data.name, **{**experiment.data.options, **other})
    if len(source) == 0:
        raise DataError(f"{experiment.data.name} holds no examples: choose another split or other options")
    return source


def build_plan(experiment: Experiment, spec: ArraySpec) -> Plan:
    """Everything that a training or a sampling needs to know of an experiment, for arrays of `spec`.

    Raises:
      UsageError: unknown names or options, optimizers that do not fit the players, numbers that make no sense.
      RunError: a conditional model on data without labels.
    """
    experiment = complete(experiment)
    _check_run_options(experiment.run)
    _check_batch(experiment.run, spec)
    method = _build_method(experiment, spec)
    players = [player.name for player in method.players]
    for field in ("optimizers", "ema_half_life"):
        if extra := sorted(set(getattr(experiment, field)) - set(players)):
            raise unknown(f"player in {field}", extra[0], players)
    plan = Plan(
        name=experiment.name,
        config={**to_json(experiment), "spec": dataclasses.asdict(spec)},
        method=method,
        spec=spec,
        ema={},
        run=experiment.run,
    )
    return dataclasses.replace(plan, ema=_averages(experiment, plan.images_per_step))


def _check_run_options(run: RunOptions) -> None:
    for field in dataclasses.fields(run):
        least, value = field.metadata.get("least"), getattr(run, field.name)
        if least is not None and value < least:
            raise UsageError(f"--{field.name.replace('_', '-')} must be at least {least}, got {value}")
        if least is not None and value >= 2**31 and field.name != "seed":
            raise UsageError(f"--{field.name.replace('_', '-')} must be below 2147483648, got {value}")
    if run.seed + run.seeds > 2**31:
        raise UsageError(f"--seed must be below 2147483648, got {run.seed + run.seeds - 1}")


def _check_batch(run: RunOptions, spec: ArraySpec) -> None:
    if (count := run.batch_size * run.seeds * spec.size) > LARGEST_BATCH:
        raise UsageError(f"--batch-size {run.batch_size} is too large: a batch has {count:,} numbers")


def _averages(experiment: Experiment, images_per_step: int) -> dict[str, Decay]:
    """The decay of each player's moving average."""
    if not 0 <= experiment.ema_burn_in < float("inf"):
        raise UsageError(f"--ema-burn-in must be at least 0 images, got {experiment.ema_burn_in:g}")
    for name, images in experiment.ema_half_life.items():
        if not images > 0:
            raise UsageError(f"--ema-half-life.{name} must be above 0 images, got {images:g}")
    return {
        name: half_life(images, images_per_step, experiment.ema_burn_in)
        for name, images in experiment.ema_half_life.items()
    }


class _Parts(dict[str, Any]):
    """Networks or transforms by name, as an objective's builder gets them.

    One that is missing is a wrong choice of model or optimizers; any other KeyError in a builder is a defect of it.
    """

    def __init__(self, parts: Mapping[str, Any], objective: str, there_is: str) -> None:
        super().__init__(parts)
        self.objective, self.there_is = objective, there_is

    def __missing__(self, name: str) -> Any:
        raise UsageError(f"objective {self.objective} needs {name!r}; {self.there_is}")


def _build_method(experiment: Experiment, spec: ArraySpec) -> Method:
    """Networks, losses and optimizers of a completed experiment, composed."""
    model, objective = experiment.model, experiment.objective
    if model.options.get("conditional") and not spec.classes:
        raise RunError(
            f"a conditional model needs labels, and {experiment.data.name} has none: use --model.no-conditional"
        )
    build_networks, build = find_part("model", model.name), find_part("objective", objective.name)
    networks = build_networks(spec, **parts.arguments(build_networks, model.options))
    chosen = precision.chosen(experiment.precision, list(networks))
    networks = {name: precision.computing(network, chosen[name]) for name, network in networks.items()}
    length = experiment.run.schedule_steps or experiment.run.steps
    transforms = {name: build_transform(o, length) for name, o in experiment.optimizers.items()}
    there_is = (
        f"model {model.name} has networks {', '.join(networks)}, and there are optimizers for {', '.join(transforms)}"
    )
    return build(
        _Parts(networks, objective.name, there_is),
        spec,
        _Parts(transforms, objective.name, there_is),
        **parts.arguments(build, objective.options),
    )


def build_transform(optimizer: Optimizer, steps: int) -> optax.GradientTransformation:
    """The Optax transform of one player, its schedule laid over `steps` steps.

    Raises:
      UsageError: an unknown part, or a number that makes no sense.
    """
    options = {**optimizer.schedule.options, **optimizer.transform.options}
    check_optimizer(optimizer.learning_rate, optimizer.clip, options)
    schedule = find_part("schedule", optimizer.schedule.name)(
        optimizer.learning_rate, steps, **optimizer.schedule.options
    )
    transform = find_part("optimizer", optimizer.transform.name)(schedule, **optimizer.transform.options)
    return clipped(transform, optimizer.clip)
