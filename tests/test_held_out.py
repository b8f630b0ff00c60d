"""What is held out of a run: a split of its own, or what was left out of the one it was trained on."""

import dataclasses

import numpy as np
import pytest
from helpers import examples, write_picture

from genjax_art import cli
from genjax_art.build import build_source
from genjax_art.config import Component
from genjax_art.data.contract import DataError, NoSplit
from genjax_art.run.held_out import NothingHeldOut, held_out, rest_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("split", "rest"),
    [
        ("train[:90%]", "train[90%:]"),
        ("train[10%:]", "train[:10%]"),
        ("train[:-20]", "train[-20:]"),
        ("test[:300]", "test[300:]"),
        ("train", None),
        ("train[10%:90%]", None),
        ("train[:]", None),
        ("train[:50%]+test", None),
    ],
)
def test_the_rest_of_a_slice(split, rest):
    assert rest_of(split) == rest


def test_pictures_that_were_left_out_of_a_run_are_its_held_out_ones(tmp_path):
    for i in range(20):
        write_picture(tmp_path / "mine" / f"{i}.png", (4, 4, 3), seed=i)

    def of(split):
        options = {"folder": tmp_path / "mine", "size": (4, 4), "data_dir": tmp_path / "sets", "split": split}
        return cli.parse_train(["pictures", "--run-dir", "x"]).experiment, Component("image_folder", options)

    experiment, data = of("train[:80%]")
    experiment = dataclasses.replace(experiment, data=data)
    seen, left = build_source(experiment), held_out(experiment, None)
    assert (len(seen), len(left)) == (16, 4)
    both = np.concatenate([examples(source)["x"] for source in (seen, left)])
    assert len(np.unique(both.reshape(20, -1), axis=0)) == 20
    assert len(held_out(experiment, "train[:10%]")) == 2  # what is asked for goes first
    for split in ("train", "all", "train[10%:90%]", "train[:99%]"):  # of the last one nothing is left
        seen_all = dataclasses.replace(experiment, data=of(split)[1])
        with pytest.raises(NothingHeldOut, match=r"trained on \w+.*--data\.split 'train\[:90%\]'") as refused:
            held_out(seen_all, None)
        assert f"trained on {split}." in str(refused.value)
    with pytest.raises(DataError, match="missing"):  # another fault is told as it is
        held_out(
            dataclasses.replace(experiment, data=Component("image_folder", {"folder": tmp_path / "missing"})), None
        )


def test_a_split_that_a_run_was_trained_on_is_not_held_out(tmp_path):
    for name, count in (("train", 3), ("test", 5), ("val", 4)):
        for i in range(count):
            write_picture(tmp_path / "own" / name / f"{i}.png", (4, 4, 3), seed=10 * count + i)
    preset = cli.parse_train(["pictures", "--run-dir", "x"]).experiment

    def of(split):
        options = {"folder": tmp_path / "own", "size": (4, 4), "data_dir": tmp_path / "sets", "split": split}
        return dataclasses.replace(preset, data=Component("image_folder", options))

    for split, count in {"train": 5, "train[:50%]": 5, "test": 4, "train+test": 4, "test[:60%]": 4}.items():
        assert len(held_out(of(split), None)) == count, split
    with pytest.raises(NothingHeldOut, match="trained on all"):
        held_out(of("all"), None)


def test_a_set_of_ones_own_says_that_it_has_no_such_split(monkeypatch):
    """By `NoSplit`, in whatever words; any other fault is told."""
    preset = cli.parse_train(["mlp-vae", "--run-dir", "x"]).experiment
    held = build_source(preset, "test")

    def build(experiment, split=None):
        if split != "val":
            raise faults[0]("mine", str(split), ("train", "val"))
        return held

    monkeypatch.setattr("genjax_art.build.build_source", build)
    faults = [NoSplit]
    assert held_out(preset, None) is held
    with pytest.raises(NoSplit, match="mine has no split 'test': choose from train, val"):
        held_out(preset, "test")

    faults[0] = lambda *_: DataError("the disk is gone")
    with pytest.raises(DataError, match="the disk is gone"):
        held_out(preset, None)
