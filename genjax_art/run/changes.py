"""What a run was changed to when it was resumed: its history, and how a state of before goes on as one of after.

config.json holds the experiment as it is now and, under "history", what each resumption changed:
{"step": 400, "changed": {"optimizers": [before, after], "steps": [before, after]}}. A checkpoint of step 400 or
before is one of the experiment before that change, so it is read with that, whatever happened after the change was
written: there is no moment at which config and checkpoint do not fit.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art.build import Plan, build_plan, components
from genjax_art.config import from_json
from genjax_art.errors import RunError
from genjax_art.parts import outside
from genjax_art.run import layout
from genjax_art.train.state import TrainState

NOTED_ELSEWHERE = (layout.HISTORY, "spec", "version")
_SINCE = {"precision": ["float32"]}  # fields that configs of before do not have, and what held there


def history(folder: Path) -> list[dict[str, Any]]:
    """The changes of the run in `folder`, oldest first.

    Raises:
      RunError: they cannot be read.
    """
    return _history(layout.read_all(folder)[0], folder)


def with_history(folder: Path, config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """`config`, which the run in `folder` goes on with from `step`, with its history; without a run just `config`.

    Raises:
      RunError: the folder's config cannot be read.
    """
    if not layout.is_run(folder):
        return dict(config)
    saved = layout.read_all(folder)[0]
    entries = _history(saved, folder)
    before, after = _SINCE | _fields(saved), _fields(json.loads(json.dumps(config)))
    changed = {name: [before.get(name), after[name]] for name in after if before.get(name, after[name]) != after[name]}
    if changed:
        entries.append({"step": step, "changed": changed})
    return {**config, layout.HISTORY: entries} if entries else dict(config)


def config_at(config: Mapping[str, Any], entries: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """`config` as it was when the checkpoint of `step` was written."""
    config = {**config, "run": dict(config["run"])}
    for entry in reversed(entries):
        if entry["step"] >= step:
            for name, (before, _) in entry["changed"].items():
                if name == layout.CONTENT:  # of the data, not of the experiment
                    continue
                (config if name in config else config["run"])[name] = before
    return config


def plan_at(folder: Path, plan: Plan, step: int) -> Plan:
    """The plan that the checkpoint of `step` in `folder` was written under: mostly `plan` itself.

    Raises:
      RunError: the folder's config or its history cannot be read.
    """
    entries = history(folder)
    saved = layout.read_config(folder)[0]
    config = config_at(saved, entries, step)
    if _method(config) == _method(json.loads(json.dumps(plan.config))):
        return plan
    try:
        before = from_json(config)
        # a history could name what nobody has been asked about
        known = {component.name for _, component in components(from_json(saved))}
        if strange := outside(c.name for _, c in components(before) if c.name not in known):
            raise RunError(f"it uses code from outside this package, of the module {' and '.join(strange)}")
        return build_plan(before, plan.spec)
    except ValueError as error:
        raise RunError(f"{folder / layout.CONFIG}: the experiment before its last change: {error}") from error


def carried(old: TrainState, new: TrainState, what: str) -> TrainState:
    """The state `old`, of another plan, in the structure of `new`, a first state of the plan that goes on.

    What both have is kept: parameters must be the same, optimizer states but for clipping. What is new among extras
    and averages starts as in `new`, averages from the parameters.

    Raises:
      RunError: the parameters or an optimizer's state differ; `what` names the checkpoint.
    """
    if _shapes(old.params) != _shapes(new.params):
        raise RunError(f"{what} has parameters of another model: {_difference(old.params, new.params)}; train anew")
    states = {name: _same_optimizer(name, old.opt_state[name], like, what) for name, like in new.opt_state.items()}
    known = dict(jax.tree_util.tree_leaves_with_path(old.extras))

    def kept(path: Any, leaf: Any) -> Any:
        found = known.get(path)
        return leaf if found is None or np.shape(found) != np.shape(leaf) else found

    return new.replace(
        step=old.step,
        seed=old.seed,
        params=old.params,
        opt_state=states,
        extras=jax.tree_util.tree_map_with_path(kept, new.extras),
        ema={name: old.ema.get(name, old.params[name]) for name in new.ema},
    )


def carried_over(state: TrainState, before: Plan, now: Plan, what: str, first: Callable[[], Any]) -> TrainState:
    """`state`, of the plan `before`, as a state of `now`. `first()` makes a first one of `now`, where it is needed.

    Raises:
      RunError: it is no state that `now` can go on with.
    """
    if _shapes(before.state_shapes()) == _shapes(now.state_shapes()):
        return state
    return carried(state, jax.device_get(first()), what)


def _same_optimizer(name: str, old: Any, like: Any, what: str) -> Any:
    """`old` in the structure of `like`: clipping, which has no numbers of its own, comes or goes."""
    if _leaves(old) != _leaves(like):
        raise RunError(
            f"{what} has the state of another optimizer for {name}: its learning rate, schedule and clipping may "
            "change, its transform may not"
        )
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(old))


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    """Names, shapes and dtypes of the leaves, without the place in a chain of transforms."""
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        names = [str(key) for key in path if not isinstance(key, jax.tree_util.SequenceKey)]
        found.append(("".join(names), (np.shape(leaf), np.dtype(leaf.dtype))))
    return found


def _shapes(tree: Any) -> Any:
    return jax.tree.structure(tree), [(np.shape(leaf), np.dtype(leaf.dtype)) for leaf in jax.tree.leaves(tree)]


def _difference(old: Any, new: Any) -> str:
    """The first parameter that one has and the other has not, or of another shape."""
    a, b = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): np.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (old, new))
    )
    name = min(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return f"{name} has shape {a.get(name, 'none')}, not {b.get(name, 'none')}"


def _method(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that decides what a state holds, and what is drawn from it."""
    fields = ("model", "objective", "optimizers", "ema_half_life", "precision")
    return {name: config.get(name, _SINCE.get(name)) for name in fields}


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the experiment and of its run options, by name."""
    fields = {name: value for name, value in config.items() if name not in (*NOTED_ELSEWHERE, "run")}
    return {**fields, **config.get("run", {})}


def _history(config: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    entries = config.get(layout.HISTORY, [])
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise RunError(f"{folder / layout.CONFIG}: {layout.HISTORY} is no list of steps and what they changed")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or type(entry.get("step")) is not int or not isinstance(entry.get("changed"), dict):
        return False
    return all(isinstance(pair, list) and len(pair) == 2 for pair in entry["changed"].values())
