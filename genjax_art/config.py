"""The whole experiment as frozen data, with a JSON round trip.

A `Component` is a name (of a model, an objective, a data set, an optimizer, a schedule: the file or function that
builds it) and its options. The options are the keyword arguments of that builder, so that a new component needs no
change here; `build.py` completes them with the builder's defaults and refuses unknown ones.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

VERSION = 2  # of the JSON layout; a file of a newer version is refused

Options = dict[str, Any]
T = TypeVar("T", bound=Any)


@dataclass(frozen=True)
class Component:
    name: str
    """Which one: the name of its file (models, objectives, data) or function (optimizers, schedules)."""
    options: Options = field(default_factory=dict)
    """Keyword arguments of its builder."""


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 2e-4
    """Peak learning rate."""
    transform: Component = Component("adam")
    """The Optax optimizer: adam, adamw, rmsprop, sgd, ..."""
    schedule: Component = Component("constant")
    """Learning rate over the run: constant, cosine, linear or burn_in, each with warmup_steps."""
    clip: float | None = None
    """Largest global gradient norm; None does not clip."""


def _at_least(least: int, default: int, *, on_resume: bool = False) -> Any:
    """A whole number with its smallest value; `on_resume`: it may be changed when a run is resumed."""
    return field(default=default, metadata={"least": least, "on_resume": on_resume})


def _choice(default: str) -> Any:
    """One of the words that the field's type lists; it may be changed when a run is resumed."""
    return field(default=default, metadata={"on_resume": True})


@dataclass(frozen=True)
class RunOptions:
    """How long a run is, how it is seeded, and what it writes when. A new option is one field here."""

    batch_size: int = _at_least(1, 128)
    """Global batch size in images, over all devices."""
    micro_batches: int = _at_least(1, 1, on_resume=True)
    """Parts of the batch whose gradients are computed one after another and averaged: memory of one part, the numbers
    of the whole; batch norm sees one part."""
    steps: int = _at_least(1, 1000, on_resume=True)
    """Length of the run in steps; a step updates every player."""
    schedule_steps: int = _at_least(0, 0, on_resume=True)
    """Length of the learning rates' schedules; 0: of the run. A run that is made longer keeps that of its first length,
    unless this is given, too."""
    seed: int = _at_least(0, 0)
    """Of parameters, noise and data order."""
    seeds: int = _at_least(1, 1)
    """Members trained at once, for small networks on one device: seed, seed + 1, ..."""
    log_every: int = _at_least(1, 50, on_resume=True)
    """Steps between two lines of metrics."""
    sample_every: int = _at_least(0, 500, on_resume=True)
    """Steps between two pictures from fixed latents; 0: none."""
    save_every: int = _at_least(1, 1000, on_resume=True)
    """Steps between two checkpoints (and two scores of the samples)."""
    steps_per_call: int = _at_least(0, 0, on_resume=True)
    """Steps in one call of the device, where no log, sample or checkpoint is due before its end; the numbers are the
    same. With more than one the data lie on the device if a quarter of its memory holds them. 0: 1 on CPU, elsewhere
    the largest number up to 25 that divides those cycles."""
    keep_latest: int = _at_least(1, 2, on_resume=True)
    """Checkpoints kept by age."""
    keep_best: int = _at_least(0, 1, on_resume=True)
    """Checkpoints kept by score (see --best-by)."""
    best_by: Literal["default", "kd_scattering", "music_distance", "sliced_wasserstein", "kd_own"] = field(
        default="default", metadata={"on_resume": False}
    )
    """What `--checkpoint best` is best by. By default of pictures and clips kd_scattering, the kernel distance of
    features that need no training; of music music_distance, of its measures; else sliced_wasserstein, of the arrays
    themselves. kd_own takes the features of a net that is trained on the data first, for minutes, once."""
    on_nan: Literal["stop", "skip", "rollback"] = _choice("stop")
    """Where a number is not finite: stop; skip, the step's whole update is dropped and counted; rollback, the newest
    checkpoint goes on with new noise, at most three times."""


@dataclass(frozen=True)
class Experiment:
    name: str
    """The preset this started from."""
    model: Component
    objective: Component
    optimizers: dict[str, Optimizer]
    """One per player."""
    data: Component = Component("mnist_5k")
    run: RunOptions = RunOptions()
    ema_half_life: dict[str, float] = field(default_factory=dict)
    """Per player: half-life of the moving average of its parameters, in images. Samples use it."""
    ema_burn_in: float = 0.0
    """Over how many images the half-lives rise from 0; with 0 they are at most a twentieth of the images seen."""
    precision: tuple[str, ...] = ("float32",)
    """In which networks compute: float32, tf32 or bfloat16 for all, `generator=bfloat16` for one, or both. Parameters,
    statistics, logits and penalties are float32 in any case, and float32 means float32 on GPU and TPU, too."""


def with_run(whole: T, **options: int | str) -> T:
    """An experiment (or whatever else has run options under `run`) with some of them replaced."""
    run = dataclasses.replace(getattr(whole, "run"), **options)  # noqa: B009 (T is not bound to a protocol)
    return dataclasses.replace(whole, run=run)


def to_json(experiment: Experiment) -> dict[str, Any]:
    """Plain JSON data; `from_json` of it equals the experiment."""
    return {"version": VERSION, **dataclasses.asdict(experiment)}


def from_json(data: Mapping[str, Any]) -> Experiment:
    """The experiment that `to_json` wrote, of this version or an older one.

    Raises:
      ValueError: a newer version, or fields that are missing, unknown or of a wrong type.
    """
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"config version {version!r} is not known here (up to {VERSION}); install a newer genjax_art")
    current = migrate(data)
    return _read(Experiment, {k: v for k, v in current.items() if k != "version"}, "experiment")


def migrate(data: Mapping[str, Any]) -> dict[str, Any]:
    """JSON data of an older version in the layout of this one; data that are no config pass, to be refused later.

    Version 2 has the run options under "run" and the data set with options of its own, and counts images once for each
    update that a step makes of a player: half-lives of version 1 counted one batch a step. Without a word on what the
    best checkpoint is best by, it is what that was before there was a choice.
    """
    current = dict(data)
    if current.get("version") == 1:
        names = [f.name for f in dataclasses.fields(RunOptions)]
        current["run"] = {name: current.pop(name) for name in names if name in current}
        repeats = _within(current, "objective", "options").get("discriminator_repeats", 1)
        for name in ("ema_half_life", "ema_burn_in"):
            if isinstance(repeats, int) and repeats > 1 and name in current:
                current[name] = _scaled(current[name], repeats)
        if isinstance(current.get("data"), Mapping):
            current["data"] = _data_of_version_1(current["data"])
        current["version"] = 2
    if isinstance(run := current.get("run"), Mapping):
        current["run"] = {"best_by": "sliced_wasserstein", **run}
    return current


def _within(data: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at a path, or an empty one."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _scaled(value: Any, factor: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _scaled(item, factor) for name, item in value.items()}
    return value * factor if isinstance(value, int | float) and not isinstance(value, bool) else value


def _data_of_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every set had the same fields, null where they said nothing, and sets of four bars had names of their own."""
    name = data.get("name", "mnist_5k")
    # these could be given to sets that have no use for them
    idle = {"ring8": "data_dir", "grid25": "data_dir", "mixture1200": "data_dir", "stacked_mnist": "channels"}.get(name)
    options = {field: value for field, value in data.items() if field not in ("name", idle) and value is not None}
    if name in ("chorales_4bar", "midi_folder_4bar"):
        return {"name": name.removesuffix("_4bar"), "options": {**options, "bars": 4}}
    return {"name": name, "options": options}


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` from JSON as the annotated type `kind`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _read(args[0], value, where)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        if value in args:
            return value
        raise ValueError(f"{where}: {json.dumps(value)} is not one of {', '.join(map(str, args))}")
    if origin is dict and isinstance(value, dict):
        return {key: _read(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple) and args[1:] == (...,):
        return tuple(_read(args[0], v, where) for v in value)
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(args):
        return tuple(_read(a, v, where) for a, v in zip(args, value, strict=True))
    if kind is Any:
        return _tuples(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where}: {json.dumps(value)} is not a {getattr(kind, '__name__', kind)}")


def _tuples(value: Any) -> Any:
    """`value` with the tuples that JSON wrote as lists, at any depth."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected the fields of {kind.__name__}")
    hints = typing.get_type_hints(kind, include_extras=True)
    if extra := sorted(set(value) - set(hints)):
        raise ValueError(f"{where}: unknown {', '.join(extra)}; known: {', '.join(hints)}")
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in value]:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()})
