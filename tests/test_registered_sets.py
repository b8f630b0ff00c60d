"""Image sets registered with TensorFlow Datasets, from the request to the arrays; TensorFlow is only pretended."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import examples

from genjax_art.data.contract import DataError
from genjax_art.data.open import open_source
from genjax_art.data.recipe import png

NAME = "registered_for_tests"
pytestmark = pytest.mark.usefixtures("own_data")


class RegisteredForTests(tfds.core.GeneratorBasedBuilder):
    """Picture i is of level i and has label i % 2; its pictures go in encoded, which needs no TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(8, 6, 3))
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(names=["a", "b"])})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(10), "test": self._generate_examples(4)}

    def _generate_examples(self, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(count):
            yield i, {"image": png(np.full((8, 6, 3), i, np.uint8)), "label": "ab"[i % 2]}


def has_tensorflow(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    find_spec = importlib.util.find_spec

    def pretend(name: str, package: str | None = None) -> Any:
        return (installed or None) if name == "tensorflow" else find_spec(name, package)

    monkeypatch.setattr("importlib.util.find_spec", pretend)


def test_a_registered_set_is_prepared_once_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    has_tensorflow(monkeypatch, True)
    source = open_source(NAME, data_dir=tmp_path / "sets")
    assert (source.spec.shape, source.spec.classes) == ((8, 6, 3), ("a", "b"))
    rows = examples(source)
    np.testing.assert_array_equal(np.sort(rows["x"][:, 0, 0, 0]), np.arange(10))
    np.testing.assert_array_equal(rows["label"], rows["x"][:, 0, 0, 0] % 2)
    assert len(open_source(NAME, data_dir=tmp_path / "sets", split="test", size=(4, 4), channels=1)) == 4
    prepared = tmp_path / "sets" / NAME / "1.0.0"
    assert capfd.readouterr().err == f"downloading and preparing {NAME} in {prepared} (once)\n"
    assert list(prepared.glob("*.array_record-*"))
    has_tensorflow(monkeypatch, False)  # reading it needs none
    assert len(open_source(NAME, data_dir=tmp_path / "sets", split="train[:5]")) == 5


def test_without_tensorflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_tensorflow(monkeypatch, False)
    with pytest.raises(
        DataError, match=rf"{NAME} is not prepared under .*pip install -e \"\.\[tensorflow\]\""
    ) as caught:
        open_source(NAME, data_dir=tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*.json"))


def test_a_preparation_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any, dl_manager: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(RegisteredForTests, "_split_generators", offline)
    has_tensorflow(monkeypatch, True)
    with pytest.raises(
        DataError, match=rf"{NAME} cannot be prepared in .*: ConnectionError: no route to host"
    ) as caught:
        open_source(NAME, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_set_prepared_as_parquet_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    tfds.builder(NAME, data_dir=str(tmp_path), file_format="parquet").download_and_prepare()
    rows = examples(open_source(NAME, data_dir=tmp_path))
    np.testing.assert_array_equal(rows["label"], rows["x"][:, 0, 0, 0] % 2)
    assert len(rows["x"]) == 10
