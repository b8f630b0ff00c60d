"""Composition root: builds everything from an experiment, which a preset or the command line has made.

Presets, models and objectives are found by being there, one file each; optimizers and schedules by their names in
`train/optim.py`. A component's options are the keyword arguments of its builder; one whose default is a dataclass
stands for the fields of that.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optax

from genjax_art import models, objectives, presets
from genjax_art.config import Component, Experiment, Optimizer, to_json
from genjax_art.data.arrays import Source
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.objectives.method import Method
from genjax_art.spec import ArraySpec
from genjax_art.train.optim import OPTIMIZERS, SCHEDULES, clipped, half_life
from genjax_art.train.step import Decay

DEFAULT_PRESET = "dcgan-small"


@dataclass(frozen=True)
class Plan:
    """An experiment, built: what `training.py` runs. Plain values and functions, no config."""

    name: str
    config: Mapping[str, Any]  # JSON, for the run folder
    method: Method
    spec: ArraySpec
    ema: Mapping[str, Decay]
    batch_size: int
    steps: int
    seed: int
    seeds: int  # members trained at once
    log_every: int
    sample_every: int
    save_every: int
    keep_latest: int
    keep_best: int


def names(package: Any) -> list[str]:
    """Names of the files in a room that have something to build, as they are written in a config."""
    return [
        module.name for module in pkgutil.iter_modules(package.__path__) if "build" in _source(package, module.name)
    ]


def _source(package: Any, name: str) -> str:
    text = (Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    return "build" if "\ndef build(" in text else ""


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


def _builder(kind: str, name: str) -> Callable[..., Any]:
    tables: Mapping[str, Mapping[str, Callable[..., Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    if kind in tables:
        if name not in tables[kind]:
            raise unknown(kind, name, tables[kind])
        return tables[kind][name]
    package = {"model": models, "objective": objectives}[kind]
    known = names(package)
    if name not in known:
        raise unknown(kind, name, known)
    return importlib.import_module(f"{package.__name__}.{name}").build


def complete(experiment: Experiment) -> Experiment:
    """The experiment with every option of every component spelt out.

    Raises:
      UsageError: an unknown component or option, or a value that is not among an option's choices.
    """
    optimizers = {
        player: dataclasses.replace(
            optimizer,
            transform=_complete("optimizer", optimizer.transform),
            schedule=_complete("schedule", optimizer.schedule),
        )
        for player, optimizer in experiment.optimizers.items()
    }
    return dataclasses.replace(
        experiment,
        model=_complete("model", experiment.model),
        objective=_complete("objective", experiment.objective),
        optimizers=optimizers,
    )


def _keywords(builder: Callable[..., Any]) -> dict[str, Any]:
    """The builder's keyword arguments and their defaults."""
    return {p.name: p.default for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY}


def _groups(builder: Callable[..., Any]) -> dict[str, Any]:
    """Those whose defaults are dataclasses."""
    return {name: value for name, value in _keywords(builder).items() if dataclasses.is_dataclass(value)}


def _grouped(builder: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options, completed, as the builder's keyword arguments."""
    keywords = dict(options)
    for name, group in _groups(builder).items():
        fields = {field.name: keywords.pop(field.name) for field in dataclasses.fields(group)}
        keywords[name] = dataclasses.replace(group, **fields)
    return keywords


def _complete(kind: str, component: Component) -> Component:
    builder = _builder(kind, component.name)
    defaults, hints = _keywords(builder), typing.get_type_hints(builder)
    for name, group in _groups(builder).items():
        fields = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
        defaults = {**defaults, **fields}
        hints |= typing.get_type_hints(type(group))
        del defaults[name]
    for option, value in component.options.items():
        if option not in defaults:
            raise unknown(f"option of {kind} {component.name}", option, defaults)
        if isinstance(defaults[option], Mapping):
            for entry in value:
                if entry not in defaults[option]:
                    raise unknown(f"{option} of {kind} {component.name}", entry, defaults[option])
        choices = typing.get_args(hints.get(option)) if typing.get_origin(hints.get(option)) is typing.Literal else ()
        if choices and value not in choices:
            raise unknown(f"{option} of {kind} {component.name}", value, map(str, choices))
    options = {**defaults, **component.options}
    for option, default in defaults.items():
        if isinstance(default, Mapping):  # one entry may be given without the others
            options[option] = {**default, **options[option]}
    return Component(component.name, options)


def build_source(experiment: Experiment, split: str | None = None) -> Source:
    """The data of an experiment (of another split, if given)."""
    from genjax_art.data.source import open_source

    data = experiment.data
    return open_source(
        data.name,
        split=split or data.split,
        data_dir=data.data_dir,
        folder=data.folder,
        size=data.size,
        channels=data.channels,
    )


def build_method(experiment: Experiment, spec: ArraySpec) -> Method:
    """Networks, losses and optimizers of an experiment, composed for arrays of `spec`.

    Raises:
      UsageError: unknown names or options, or optimizers that do not fit the players.
      RunError: a conditional model on data without labels.
    """
    experiment = complete(experiment)
    if experiment.model.options.get("conditional") and not spec.classes:
        raise RunError(
            f"a conditional model needs labels, and {experiment.data.name} has none: use --model.no-conditional"
        )
    networks = _builder("model", experiment.model.name)(spec, **experiment.model.options)
    transforms = {name: build_transform(o, experiment.steps) for name, o in experiment.optimizers.items()}
    build = _builder("objective", experiment.objective.name)
    try:
        return build(networks, spec, transforms, **_grouped(build, experiment.objective.options))
    except KeyError as error:
        raise UsageError(
            f"objective {experiment.objective.name} needs {error}; model {experiment.model.name} has networks "
            f"{', '.join(networks)}, and there are optimizers for {', '.join(transforms)}"
        ) from error


def build_transform(optimizer: Optimizer, steps: int) -> optax.GradientTransformation:
    """The Optax transform of one player, its schedule laid over `steps` steps."""
    schedule = _builder("schedule", optimizer.schedule.name)(
        optimizer.learning_rate, steps, **optimizer.schedule.options
    )
    transform = _builder("optimizer", optimizer.transform.name)(schedule, **optimizer.transform.options)
    return clipped(transform, optimizer.clip)


def build_plan(experiment: Experiment, spec: ArraySpec) -> Plan:
    """Everything that a training or a sampling needs to know of an experiment.

    Raises:
      UsageError: besides those of `build_method`, sizes that make no sense.
    """
    experiment = complete(experiment)
    for field, least in {
        "steps": 1,
        "batch_size": 1,
        "seed": 0,
        "seeds": 1,
        "log_every": 1,
        "sample_every": 0,
        "save_every": 1,
        "keep_latest": 1,
        "keep_best": 0,
        "ema_burn_in": 0,
    }.items():
        if (value := getattr(experiment, field)) < least:
            raise UsageError(f"--{field.replace('_', '-')} must be at least {least}, got {value}")
    if experiment.seed + experiment.seeds > 2**31:
        raise UsageError(f"--seed must be below 2147483648, got {experiment.seed + experiment.seeds - 1}")
    method = build_method(experiment, spec)
    players = [player.name for player in method.players]
    for field in ("optimizers", "ema_half_life"):
        if extra := sorted(set(getattr(experiment, field)) - set(players)):
            raise unknown(f"player in {field}", extra[0], players)
    for name, images in experiment.ema_half_life.items():
        if images <= 0:
            raise UsageError(f"--ema-half-life.{name} must be above 0 images, got {images:g}")
    return Plan(
        name=experiment.name,
        config={**to_json(experiment), "spec": dataclasses.asdict(spec)},
        method=method,
        spec=spec,
        ema={
            name: half_life(images, experiment.batch_size, experiment.ema_burn_in)
            for name, images in experiment.ema_half_life.items()
        },
        batch_size=experiment.batch_size,
        steps=experiment.steps,
        seed=experiment.seed,
        seeds=experiment.seeds,
        log_every=experiment.log_every,
        sample_every=experiment.sample_every,
        save_every=experiment.save_every,
        keep_latest=experiment.keep_latest,
        keep_best=experiment.keep_best,
    )
