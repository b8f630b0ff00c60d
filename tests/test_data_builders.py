"""The contract of every shipped data set, small where it is slow, and what is particular to the digits."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import examples

from genjax_art.data.batches import batch_at
from genjax_art.data.builder import ShippedBuilder, find_builder, shipped_names
from genjax_art.data.mnist_5k import read_digits
from genjax_art.data.source import DataError, open_source
from genjax_art.spec import ArraySpec

PICTURES = ("mnist_5k", "procedural_art", "image_folder")
pytestmark = pytest.mark.usefixtures("own_data")

# the contract


def test_the_shipped_sets_are_the_files_of_the_room() -> None:
    assert set(PICTURES) <= set(shipped_names())
    assert find_builder("builder") is None and find_builder("os.path") is None


def test_every_shipped_set_is_described_in_its_file() -> None:
    for name in shipped_names():
        builder = find_builder(name)
        assert builder is not None and builder.name == name
        assert builder.low < builder.high
        assert str(builder.VERSION) in builder.RELEASE_NOTES
        assert sys.modules[builder.__module__].__doc__


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_source_holds_what_its_spec_says(name: str, split: str, picture_folder: Path) -> None:
    source = open_source(name, split=split, folder=picture_folder if name == "image_folder" else None)
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
    own = picture_folder if name == "image_folder" else None
    one, two = (
        examples(open_source(name, split="test", data_dir=place, folder=own))
        for place in (prepared_sets, tmp_path / "two")
    )
    assert one.keys() == two.keys()
    for key, rows in one.items():
        np.testing.assert_array_equal(rows, two[key])


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("size", "channels"), [((24, 40), 1), ((48, 16), 4)])
def test_any_size_and_channels(name: str, size: tuple[int, int], channels: int, picture_folder: Path) -> None:
    own = picture_folder if name == "image_folder" else None
    source = open_source(name, split="test", folder=own, size=size, channels=channels)
    x = examples(source)["x"]
    assert source.spec.shape == (*size, channels) == x.shape[1:]
    if channels == 4:
        assert (x[..., 3] == 255).all()


def test_the_whole_room_works_without_tensorflow(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    code = (
        "import sys; from genjax_art.data import procedural_art as art; from genjax_art.data.source import open_source;"
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


class Rolls(ShippedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Something that is no picture: example i holds i, in floats."""

    name = "rolls_for_tests"
    VERSION = tfds.core.Version("1.0.0")
    kind: ClassVar[str] = "roll"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 10.0

    def _info(self) -> tfds.core.DatasetInfo:
        x = tfds.features.Tensor(shape=(4, 2, 1), dtype=np.float32, encoding="zlib")
        features = tfds.features.FeaturesDict({"x": x, "piece": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(10):
            yield i, {"x": np.full((4, 2, 1), i, np.float32), "piece": i}


def test_what_is_no_picture_passes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genjax_art.data.records.find_builder", lambda name: Rolls)
    source = open_source("rolls_for_tests")
    assert source.spec == ArraySpec((4, 2, 1), 0.0, 10.0, "roll")
    rows = examples(source)
    assert rows["x"].dtype == np.float32 and rows["piece"].dtype == np.int32
    np.testing.assert_array_equal(rows["x"], np.broadcast_to(rows["piece"][:, None, None, None], (10, 4, 2, 1)))
    assert sorted(rows["piece"].tolist()) == list(range(10))
    again = examples(open_source("rolls_for_tests"))
    np.testing.assert_array_equal(again["x"], rows["x"])
    with pytest.raises(DataError, match="holds no pictures"):
        open_source("rolls_for_tests", size=(4, 4))


def test_another_process_may_be_faster_at_preparing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Overtaken(Rolls, skip_registration=True):  # type: ignore[call-arg]
        name = "rolls_for_tests"

        def download_and_prepare(self, **arguments: Any) -> None:
            Rolls(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
            super().download_and_prepare(**arguments)
            raise FileExistsError("Destination already exists.")

    monkeypatch.setattr("genjax_art.data.records.find_builder", lambda name: Overtaken)
    assert len(open_source("rolls_for_tests", data_dir=tmp_path)) == 10


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
