"""What a prepared set names is imported only where it is TFDS's own."""

import json
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from genjax_art.data.contract import DataError
from genjax_art.data.features import CLASSES, FILE, check_features
from genjax_art.data.open import open_source

EVIL = "stranger.Feature"


def test_the_allowed_classes_are_those_of_tfds() -> None:
    found = {
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in vars(tfds.features).values()
        if isinstance(kind, type) and issubclass(kind, tfds.features.FeatureConnector)
    }
    assert found - {"tensorflow_datasets.core.features.feature.FeatureConnector"} == CLASSES


@pytest.mark.parametrize(
    "content",
    [
        {"pythonClassName": EVIL},
        {"python_class_name": EVIL},
        {"type": EVIL, "content": {}},
        {"featuresDict": {"features": {"x": {"sequence": {"feature": {"pythonClassName": EVIL}}}}}},
        {"type": sorted(CLASSES)[0], "content": json.dumps({"a": [{"pythonClassName": EVIL}]})},
    ],
)
def test_another_class_is_refused_wherever_it_stands(content: object, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"names 'stranger\.Feature', which is no feature") as caught:
        check_features(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[" * 100000, "nested too deeply"), (b"{", "cannot be read"), (b"\xff", "cannot be read")],
)
def test_what_is_no_description_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DataError, match=message):
        check_features(tmp_path)


@pytest.mark.usefixtures("own_data")
def test_a_stranger_s_set_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working directory that a set names: also one with a public set's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text("raise SystemExit('it was imported')")
    source = open_source("procedural_art", data_dir=tmp_path / "sets", size=(8, 8))
    assert len(source)
    (described,) = (tmp_path / "sets").rglob(FILE)
    described.write_text(described.read_text().replace("tensorflow_datasets.core.features.image_feature.Image", EVIL))
    for path in (tmp_path / "cache").rglob("*.json"):
        path.unlink()
    with pytest.raises(DataError, match="is not imported"):
        open_source("procedural_art", data_dir=tmp_path / "sets", size=(8, 8))
    (tmp_path / "sets" / "procedural_art").rename(tmp_path / "sets" / "mnist")
    with pytest.raises(DataError, match="is not imported"):
        open_source("mnist", data_dir=tmp_path / "sets")
    assert "stranger" not in sys.modules
