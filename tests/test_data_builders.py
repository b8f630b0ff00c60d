"""The contract of every shipped data set, small where it is slow, and what is particular to the digits."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import examples

from genjax_art import parts
from genjax_art.data import sets
from genjax_art.data.batches import batch_at
from genjax_art.data.contract import Source
from genjax_art.data.open import find_set, open_source
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.sets.mnist_5k import read_digits
from genjax_art.spec import ArraySpec

PICTURES = ("mnist_5k", "procedural_art", "image_folder")
pytestmark = pytest.mark.usefixtures("own_data")

# the contract


def own(name: str, folder: Path) -> dict[str, Path]:
    """The user's folder, where the set takes one."""
    return {"folder": folder} if "folder" in parts.options(find_set(name)) else {}


@pytest.mark.parametrize("name", [*parts.names(sets), "mnist", "mnist:3.0.1", "a_set/config"])
def test_every_option_of_every_set_is_explained(name: str) -> None:
    found = parts.options(find_set(name))
    assert "split" in found
    for option, about in found.items():
        assert about.help, f"{option} of {name} is not in the section Args of its docstring"
        assert about.default is not inspect.Parameter.empty
    values = parts.complete(find_set(name), "data set", name, {"split": "test"})
    assert values == {option: about.default for option, about in found.items()} | {"split": "test"}


def test_every_set_is_described_in_its_file() -> None:
    assert set(PICTURES) <= set(parts.names(sets))
    for name in parts.names(sets):
        module = importlib.import_module(f"{sets.__name__}.{name}")
        assert module.__doc__
        for recipe in vars(module).values():
            if isinstance(recipe, type) and issubclass(recipe, Recipe) and recipe is not Recipe:
                assert (recipe.name, bool(recipe.notes)) == (name, True) and recipe.low < recipe.high


def own_set(*, split: str = "train", data_dir: str | None = None) -> Source:
    """Something that a user wrote."""
    return open_prepared(Rolls(), split=split, data_dir=data_dir)


def test_a_set_of_the_users_own_module() -> None:
    assert find_set("test_data_builders:own_set") is own_set
    source = open_source("test_data_builders:own_set")
    assert (len(source), source.spec.shape) == (10, (4, 2, 1))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_source_holds_what_its_spec_says(name: str, split: str, picture_folder: Path) -> None:
    source = open_source(name, split=split, **own(name, picture_folder))
    rows = examples(source)
    assert rows["x"].shape == (len(source), *source.spec.shape) and rows["x"].dtype == np.uint8
    assert source.spec.kind == "image" and len(np.unique(rows["x"])) > 3
    assert rows["label"].dtype == np.int32
    assert set(rows["label"].tolist()) == set(range(len(source.spec.classes)))  # all in range, all present
    batch = batch_at(source, 3, batch_size=5, seed=0)
    assert batch.keys() == {"x", "label"}
    assert batch["x"].min() >= source.spec.low and batch["x"].max() <= source.spec.high


@pytest.mark.parametrize("name", PICTURES)
def test_preparing_twice_gives_the_same_bytes(
    name: str, picture_folder: Path, prepared_sets: Path, tmp_path: Path
) -> None:
    one, two = (
        examples(open_source(name, split="test", data_dir=place, **own(name, picture_folder)))
        for place in (prepared_sets, tmp_path / "two")
    )
    assert one.keys() == two.keys()
    for key, rows in one.items():
        np.testing.assert_array_equal(rows, two[key])


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("size", "channels"), [((24, 40), 1), ((48, 16), 4)])
def test_any_size_and_channels(name: str, size: tuple[int, int], channels: int, picture_folder: Path) -> None:
    source = open_source(name, split="test", size=size, channels=channels, **own(name, picture_folder))
    x = examples(source)["x"]
    assert source.spec.shape == (*size, channels) == x.shape[1:]
    if channels == 4:
        assert (x[..., 3] == 255).all()


def test_the_whole_room_works_without_tensorflow(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    code = (
        "import sys; from genjax_art.data.open import open_source;"
        "from genjax_art.data.sets import procedural_art as art;"
        "art.TRAIN_PER_STYLE = art.TEST_PER_STYLE = 1; open_source('procedural_art');"
        f"open_source('image_folder', folder={str(picture_folder)!r});"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [
        ["preparing", "procedural_art"],
        ["preparing", "image_folder"],
    ]


class Rolls(Recipe):
    """Something that is no picture: example i holds i, in floats."""

    name = "rolls_for_tests"
    notes = "Ten."
    kind = "roll"
    low = 0.0
    high = 10.0

    def features(self) -> dict[str, Any]:
        x = tfds.features.Tensor(shape=(4, 2, 1), dtype=np.float32, encoding="zlib")
        return {"x": x, "piece": tfds.features.Scalar(np.int64)}

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        metadata["about"] = "tests"
        return {"train": ((i, {"x": np.full((4, 2, 1), i, np.float32), "piece": i}) for i in range(10))}


def test_what_is_no_picture_passes_unchanged(prepared_sets: Path) -> None:
    source = open_prepared(Rolls(), split="train", data_dir=None)
    assert source.spec == ArraySpec((4, 2, 1), 0.0, 10.0, "roll")
    rows = examples(source)
    assert rows["x"].dtype == np.float32 and rows["piece"].dtype == np.int32
    np.testing.assert_array_equal(rows["x"], np.broadcast_to(rows["piece"][:, None, None, None], (10, 4, 2, 1)))
    assert sorted(rows["piece"].tolist()) == list(range(10))
    again = examples(open_prepared(Rolls(), split="train", data_dir=None))
    np.testing.assert_array_equal(again["x"], rows["x"])
    info = tfds.builder_from_directory(prepared_sets / Rolls.name / Rolls.version).info
    assert info.metadata == {"about": "tests"}


def test_another_process_may_be_faster_at_preparing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepare = tfds.core.GeneratorBasedBuilder.download_and_prepare

    def overtaken(self: Any, **arguments: Any) -> None:
        prepare(self, **arguments)
        raise FileExistsError("Destination already exists.")

    monkeypatch.setattr(tfds.core.GeneratorBasedBuilder, "download_and_prepare", overtaken)
    assert len(open_prepared(Rolls(), split="train", data_dir=tmp_path)) == 10


# mnist_5k


def test_mnist_5k_holds_every_digit_once_and_out_of_order() -> None:
    train, test = (examples(open_source("mnist_5k", split=split)) for split in ("train", "test"))
    for split, count in ((train, 450), (test, 50)):
        np.testing.assert_array_equal(np.bincount(split["label"]), [count] * 10)
        assert (split["label"] != np.sort(split["label"])).mean() > 0.5
    images, labels = read_digits()
    rows = sorted((x.tobytes(), label) for x, label in zip(images, labels.tolist(), strict=True))
    both = [
        (x.tobytes(), int(label)) for part in (train, test) for x, label in zip(part["x"], part["label"], strict=True)
    ]
    assert sorted(both) == rows
