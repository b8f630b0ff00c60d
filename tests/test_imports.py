"""Who may import whom; and importing anything does nothing."""

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import genjax_art

ROOT = Path(genjax_art.__path__[0])
ROOMS = ("data", "models", "losses", "metrics", "media")
# of the rooms above them, what they import besides what is shared
ABOVE = {
    "objectives": {*ROOMS[1:4], "train"},
    "sampling": {"objectives", "train", "data", "metrics"},
    "features": {"data", "models", "metrics", "media", "sampling"},
    "verbs": {"run", "media", "sampling"},
    "run": {*ROOMS, "build", "config", "features", "interrupts", "objectives", "sampling", "train"},
    "evaluate": {*ROOMS, "build", "cli", "features", "interrupts", "options", "run", "sampling", "train"},
}
# what a room may import besides itself
SHARED = ("spec", "shards", "errors", "keys", "files", "parts", "latents", "music", "pictures", "films")
MAY_READ_CONFIG = ("build", "cli", "options", "presets", "run", "benchmark")
OPTIONAL = ("__main__", "benchmark.peers.")  # what runs when it is imported, and what needs PyTorch
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(genjax_art.__path__, "genjax_art.")
    if not any(part in module.name for part in OPTIONAL)
)


def imported(path):
    """Names of our modules that a file imports, wherever in it: "models.layers" for genjax_art.models.layers."""
    return imported_by(ast.parse(path.read_text(encoding="utf-8")), path)


def imported_by(tree, path="it"):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("genjax_art.") for name in found if name.startswith("genjax_art.")}
    return {name for name in ours if exists(name)}


def exists(name):
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def files_of(*places):
    for place in places:
        path = ROOT / place
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_know_one_another(room):
    for path in files_of(room):
        strangers = {name for name in imported(path) if name.split(".")[0] not in (room, *SHARED)}
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


@pytest.mark.parametrize("room", ABOVE)
def test_rooms_know_those_below_them_only(room):
    for path in files_of(room):
        strangers = {name for name in imported(path) if name.split(".")[0] not in (room, *SHARED, *ABOVE[room])}
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


def test_what_is_shared_imports_only_what_is_shared():
    assert imported(ROOT / "spec.py") == imported(ROOT / "errors.py") == imported(ROOT / "config.py") == set()
    assert imported(ROOT / "shards.py") <= {"spec"}
    for path in files_of(*(name for name in SHARED if exists(name))):
        assert {name.split(".")[0] for name in imported(path)} <= set(SHARED), path.name


def test_the_step_knows_no_room_and_no_config():
    for path in files_of("train"):
        allowed = ("train", "spec", "shards", "errors", "keys", "files", "streams")
        strangers = {name for name in imported(path) if name.split(".")[0] not in allowed}
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


def test_only_the_composition_root_reads_the_config():
    readers = {
        path.relative_to(ROOT).parts[0].removesuffix(".py") for path in files_of(".") if "config" in imported(path)
    }
    assert "build" in readers
    assert readers <= set(MAY_READ_CONFIG)


def test_entry_scripts_are_thin():
    for name in ("train.py", "sample.py"):
        assert len((ROOT.parent / name).read_text(encoding="utf-8").splitlines()) < 60


CHILD = """
import importlib, json, logging, os, pkgutil, sys
os.environ.pop("GENJAX_ART_COMPILATION_CACHE", None)
import jax
before = dict(jax.config.values)
levels = {n: logging.getLogger(n).level for n in ("", "absl", "jax", "asyncio")}
environment, handlers = dict(os.environ), list(logging.getLogger().handlers)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
from jax._src import xla_bridge
print(json.dumps({
    "heavy": sorted({"tensorflow", "torch", "matplotlib.pyplot", "music21"} & set(sys.modules)),
    "backend": xla_bridge.backends_are_initialized(),
    "options": [k for k, v in jax.config.values.items() if before.get(k, v) != v],
    "levels": [n for n, level in levels.items() if logging.getLogger(n).level != level],
    "environment": sorted(set(dict(os.environ).items()) ^ set(environment.items())),
    "files": os.listdir(),
}))
"""


def test_importing_has_no_side_effects(tmp_path):
    """In a fresh process: no device is opened, no file written, no setting changed, no other framework loaded."""
    assert "genjax_art.models.dcgan" in MODULES and "genjax_art.run.training" in MODULES
    child = subprocess.run(
        [sys.executable, "-B", "-c", CHILD, json.dumps(MODULES)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    *printed, report = child.stdout.splitlines()
    assert not printed
    assert not child.stderr
    assert all(not found for found in json.loads(report).values()), report


def test_the_train_room_is_importable_without_the_heavy_ones():
    """For the reader of one step: TFDS, Orbax and the config's parser stay away until they are used."""
    names = [
        "genjax_art.train.step",
        "genjax_art.train.compile",
        "genjax_art.objectives.gan",
        "genjax_art.models.dcgan",
    ]
    heavy = "{'tensorflow_datasets', 'orbax', 'tyro'}"
    code = f"import sys\nfor name in {names}: __import__(name)\nprint({heavy} & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert child.stdout.strip() == "set()", child.stdout + child.stderr


def test_only_media_compare_the_kind_of_an_array():
    """Whoever needs to know what an array is asks its medium, its shape or its spec."""
    for path in files_of("."):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            sides += [node.slice] if isinstance(node, ast.Subscript) else []
            named = [ast.unparse(side) for side in sides if isinstance(side, ast.Attribute) and side.attr == "kind"]
            outside = path.relative_to(ROOT).parts[0] != "media"
            assert not (outside and [side for side in named if side.endswith("spec.kind")]), path
