"""The benchmark of reading pictures, small: all sides read the same, and a hungrier step is said."""

import json

import numpy as np
import pytest

from genjax_art.benchmark import reading
from genjax_art.data.open import open_source
from genjax_art.data.request import make_request
from genjax_art.data.tfds import open_records
from genjax_art.errors import RunError

pytestmark = pytest.mark.usefixtures("own_data")


def test_figures_are_written_and_a_hungrier_step_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reading, "SECONDS", 0.1)
    monkeypatch.setattr(reading, "CORES", ("all",))
    monkeypatch.setattr(reading, "has_torch", lambda python: False)
    monkeypatch.setattr(reading, "appetite", lambda: 1e12)
    with pytest.raises(RunError, match="fewer than the 1,000,000,000,000 that a step of dcgan-small takes"):
        reading.main(["--count", "12", "--side", "8", "--rounds", "1", "--json", str(tmp_path / "out.json")])
    assert "without PyTorch" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["times_tfds"] == figures["read_ours"] / figures["read_tfds"]
    assert all(figures[name] > 0 for name in ("prepare_all", "prepare_all_mb", "open_again_s", "tfds_prepare"))


def test_tfds_reads_the_same_pictures(tmp_path):
    reading.draw_pictures(tmp_path / "files", 9, (20, 40))
    ours = open_source("image_folder", folder=tmp_path / "files", data_dir=tmp_path / "sets", size=(16, 16))
    request = make_request("tfds", "train", tmp_path / "tfds", (16, 16), 3)
    theirs = open_records(request, reading.Encoded(tmp_path / "files"))
    one, other = (source.take(np.arange(9)) for source in (ours, theirs))
    # JPEGs are the same; ours may be decoded smaller, these are too small for that
    assert sorted(x.tobytes() for x in one["x"]) == sorted(x.tobytes() for x in other["x"])
    assert ours.spec == theirs.spec and np.bincount(one["label"]).tolist() == np.bincount(other["label"]).tolist()
