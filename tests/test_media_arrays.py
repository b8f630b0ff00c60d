"""NPZ files of samples of every kind."""

import os

import numpy as np
import pytest

from genjax_art.media.medium import write
from genjax_art.spec import ArraySpec

SPECS = {
    "image": ArraySpec((5, 4, 3), 0.0, 2.0, classes=("ä", "b")),
    "roll": ArraySpec((8, 60, 2), 0.0, 1.0, "roll", ("ä", "b")),
    "points": ArraySpec((2,), -3.0, 3.0, "points", ("ä", "b"), bounded=False),
    "clip": ArraySpec((2, 4, 4, 1), kind="clip", classes=("ä", "b")),
}


@pytest.mark.parametrize("kind", SPECS)
def test_npz_samples_hold_the_numbers(kind, tmp_path):
    spec = SPECS[kind]
    x = np.random.default_rng(0).normal(size=(3, *spec.shape)).astype(np.float32)
    label = np.asarray([1, 0, 1], np.int32)
    out = tmp_path / "x.npz"
    assert write(out, x, spec, {"seed": "7", "name": "ä"}, label) == [out]
    with np.load(out, allow_pickle=False) as read:
        assert sorted(read.files) == ["classes", "high", "label", "low", "name", "seed", "x"]
        assert read["x"].dtype == np.float32
        np.testing.assert_array_equal(read["x"], x)
        assert (float(read["low"]), float(read["high"])) == (spec.low, spec.high)
        assert (str(read["seed"]), str(read["name"])) == ("7", "ä")
        assert read["classes"][read["label"]].tolist() == ["b", "ä", "b"]
    first = out.read_bytes()
    write(out, x, spec, {"name": "ä", "seed": "7"}, label)
    assert out.read_bytes() == first
    write(out, x, spec, {})
    with np.load(out, allow_pickle=False) as read:
        assert sorted(read.files) == ["high", "low", "x"]


def test_npz_samples_of_another_shape_or_with_a_name_twice_are_refused(tmp_path):
    spec = SPECS["image"]
    with pytest.raises(ValueError, match="'low'"):
        write(tmp_path / "x.npz", np.zeros((1, 5, 4, 3), np.float32), spec, {"low": "1"})
    with pytest.raises(ValueError, match=r"shape \(1, 4, 5, 3\) is no batch of image"):
        write(tmp_path / "x.npz", np.zeros((1, 4, 5, 3), np.float32), spec, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("image", "png"), ("image", "gif"), ("image", "mp4"), ("roll", "mid"), ("roll", "png"), ("points", "npz")],
)
def test_metadata_that_is_no_text_is_spelt_out(kind, ending, tmp_path):
    """A file of the user's may be called anything, and its name is kept."""
    spec = SPECS[kind]
    names = {"of": os.fsdecode(b"caf\xe9.mid"), "lone": "\ud800", "plain": "café"}
    (out,) = write(tmp_path / f"x.{ending}", np.zeros((2, *spec.shape), np.float32), spec, names)
    content = out.read_bytes()
    spelt = r"caf\xe9.mid"
    if ending == "npz":
        with np.load(out) as read:
            assert (str(read["of"]), str(read["plain"])) == (spelt, "café")
    else:
        assert spelt.encode() in content or spelt.replace("\\", "\\\\").encode() in content
