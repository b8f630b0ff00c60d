"""Parts: found by name, in our rooms or outside; options from signature and docstring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from genjax_art import models, objectives, parts
from genjax_art.errors import UsageError
from genjax_art.options import make
from genjax_art.train.optim import OPTIMIZERS, SCHEDULES


@dataclass(frozen=True)
class Group:
    speed: float = 1.0
    """How fast,
    in steps."""
    weights: Mapping[str, float] = field(default_factory=lambda: {"a": 0.0, "b": 0.0})


def build(spec, *, width: int = 3, norm: Literal["none", "batch"] = "none", group: Group = Group()):
    """Something.

    Args:
      spec: of the arrays.
      width: how wide: in
        numbers.
      norm: which one.

    Returns nothing.
    """
    return width, norm, group


def test_parts_of_a_room_are_found_by_their_files():
    assert {"dcgan", "mlp", "music_vae"} <= set(parts.names(models)) and "layers" not in parts.names(models)
    assert parts.find(objectives, "vae", kind="objective").__module__ == "genjax_art.objectives.vae"
    with pytest.raises(UsageError, match=r"unknown model 'layers'; known: .*dcgan"):
        parts.find(models, "layers", kind="model")


def test_parts_from_outside_are_functions_of_modules():
    assert parts.find(models, "test_parts:build", kind="model") is build
    with pytest.raises(UsageError, match=r"no module nowhere_at_all for the model nowhere_at_all:build.*PYTHONPATH"):
        parts.find(models, "nowhere_at_all:build", kind="model")
    with pytest.raises(UsageError, match="module test_parts has no built"):
        parts.find(models, "test_parts:built", kind="model")


def test_a_defect_in_a_module_from_outside_is_no_usage_error(tmp_path, monkeypatch):
    (tmp_path / "broken_part.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        parts.find(models, "broken_part:build", kind="model")


@pytest.mark.parametrize(("name", "expected"), [("m:f", True), ("p.m:f", True), ("mnist:3.0.1", False), ("vae", False)])
def test_what_is_outside(name, expected):
    assert parts.is_outside(name) is expected
    assert parts.outside([name, name, "gan"]) == ([name.split(":")[0]] if expected else [])


def test_options_are_the_keywords_with_their_words():
    found = parts.options(build)
    assert list(found) == ["width", "norm", "speed", "weights"]
    assert (found["width"].type, found["width"].default, found["width"].help) == (int, 3, "how wide: in numbers.")
    assert (found["norm"].help, found["speed"].help) == ("which one.", "How fast, in steps.")


def test_options_are_completed_and_become_arguments():
    values = parts.complete(build, "thing", "t", {"norm": "batch", "weights": {"b": 2.0}})
    assert values == {"width": 3, "norm": "batch", "speed": 1.0, "weights": {"a": 0.0, "b": 2.0}}
    assert build(None, **parts.arguments(build, values)) == (3, "batch", Group(1.0, {"a": 0.0, "b": 2.0}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"height": 1}, "unknown option of thing t 'height'; known: norm, speed, weights, width"),
        ({"norm": "layer"}, "unknown norm of thing t 'layer'; known: batch, none"),
        ({"weights": {"c": 1.0}}, "unknown weights of thing t 'c'; known: a, b"),
        ({"weights": 3}, "weights of thing t needs names and values"),
    ],
)
def test_what_an_option_cannot_be(given, message):
    with pytest.raises(UsageError, match=message):
        parts.complete(build, "thing", "t", given)


def every_part():
    for kind, room in {"model": models, "objective": objectives}.items():
        for name in parts.names(room):
            yield pytest.param(parts.find(room, name, kind=kind), id=f"{kind}-{name}")
    for kind, table in {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}.items():
        for name, part in table.items():
            yield pytest.param(part, id=f"{kind}-{name}")


@pytest.mark.parametrize("part", list(every_part()))
def test_every_option_has_its_words(part):
    assert [name for name, option in parts.options(part).items() if not option.help] == []


def test_an_option_without_a_type_has_that_of_its_default():
    def build(spec, *, width=8, share=0.5, name="a", on=True, other=None):
        """A part."""

    found = {name: option.type for name, option in parts.options(build).items()}
    assert found == {"width": int, "share": float, "name": str, "on": bool, "other": Any}


def test_an_option_that_all_parts_have_is_named():
    with pytest.raises(UsageError, match="the option name is there twice"):
        make("mine", [("name", str, "a"), ("width", int, 3), ("name", str, "b")])
