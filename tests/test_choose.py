"""`evaluate choose`: candidates that the data allow, a budget, and a recommendation with its reasons."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from helpers import write_picture

from genjax_art import cli, evaluate
from genjax_art.build import build_plan, build_source, on_data_of
from genjax_art.config import Component
from genjax_art.data.contract import synthetic_source
from genjax_art.errors import RunError, UsageError
from genjax_art.evaluate import choose
from genjax_art.evaluate.judged import Judged
from genjax_art.metrics.record import Record
from genjax_art.metrics.row import Row
from genjax_art.metrics.subject import Subject
from genjax_art.run.held_out import held_out
from genjax_art.spec import ArraySpec


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))


def data(experiment, split=None):
    return synthetic_source(tiny_run.GREY, 60, 1 if split else 0)


def pair(value, low, high, better="high", real=(1.0, 0.9, 1.1)):
    def record(value, low, high):
        return Record("m", value, low, high, 10, 10, "e", "r")

    return Row(record(value, low, high), record(*real), better)


def test_a_budget_is_a_time():
    assert [choose.seconds_of(word) for word in ("90s", "20m", "1.5h")] == [90.0, 1200.0, 5400.0]
    for word in ("20", "m", "0m", "-3m", "1d"):
        with pytest.raises(UsageError, match="a time as 90s, 20m or 2h"):
            choose.seconds_of(word)
    own, rest = choose.split(["--data.name", "x", "--budget=3s", "--n", "9", "--seed", "2"])
    assert own == ["--budget=3s", "--n", "9"] and rest == ["--data.name", "x", "--seed", "2"]


def test_candidates_are_those_that_the_data_allow():
    def names(**spec):
        return [one.name for one in choose.select((), synthetic_source(ArraySpec(**spec), 4, 0))]

    styled, plain = names(shape=(8, 8, 1), classes=("a", "b")), names(shape=(8, 8, 3))
    assert set(styled) - set(plain) == {"can"} and len(plain) == 6
    many = choose.select((), synthetic_source(ArraySpec((1, 1, 3)), choose.FEW + 1, 0))
    assert set(plain) - {one.name for one in many} == {"augmented"}
    grey = synthetic_source(tiny_run.GREY, 4, 0)
    for asked, match in ((["can"], "needs data with labels"), (["gan"], "candidate 'gan'")):
        with pytest.raises(UsageError, match=match):
            choose.select(asked, grey)
    with pytest.raises(UsageError, match="for pictures"):
        names(shape=(2,))


def test_every_candidate_is_a_command_that_train_understands():
    for one in choose.CANDIDATES:
        for spec in (ArraySpec((8, 8, 1), classes=("a", "b")), ArraySpec((8, 8, 3))):
            words = [one.preset, *one.words, *choose._fitting(one, spec), "--data.name", "mnist_5k"]
            experiment = cli.parse_train(words).experiment
            wanted = dataclasses.replace(experiment, data=Component("mnist_5k", {"channels": 3}))
            build_plan(experiment, ArraySpec((8, 8, spec.channels), classes=("a", "b")))
            assert on_data_of(experiment, wanted).data == wanted.data  # and not sides and channels of its own


def test_candidates_are_trained_measured_and_one_is_recommended(quick_runs, tmp_path, monkeypatch, capsys):
    tiny = choose.Candidate("vae", "mlp-vae", ("--model.width", "8", "--batch-size", "8"), "tests")
    monkeypatch.setattr(choose, "CANDIDATES", [tiny])
    monkeypatch.setattr(choose, "prepare_process", lambda: None)
    for place in ("genjax_art.build.build_source", "genjax_art.evaluate.choose.build_source"):
        monkeypatch.setattr(place, data)
    words = ["--budget", "1s", "--features", "pixels-pca64", "--n", "40", "--out", str(tmp_path / "out")]
    assert evaluate.evaluate(["choose", *words]) == 0
    printed, said = capsys.readouterr()
    assert "vae: 1 s are too short for 20 steps, which it gets" in said
    results = json.loads((tmp_path / "out/evaluation/results.json").read_text())
    assert results["step"] == "20" and results["KD-own"]["samples"]["n_fake"] == 40
    assert ("No recommendation" in printed) == results["vetoed"] and "samples/s" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation", "vae"]
    monkeypatch.setattr(choose, "train", None)
    with pytest.raises(RunError, match=r"vae is there already.*--out"):  # nothing is overwritten, nor trained in vain
        evaluate.evaluate(["choose", *words])


def test_the_recommended_one_is_nearest_and_not_vetoed():
    def tried(name, value, vetoed=False):
        rows = {"KD-own": pair(value, value - 0.1, value + 0.1, "low")}
        source = synthetic_source(tiny_run.GREY, 4, 0)
        measured = Subject(source.spec, np.zeros((4, *source.spec.shape)), source, source, lambda x: x, None)
        found = {**rows, "vetoed": vetoed, "because": "as varied"}
        return choose.Tried(choose.CANDIDATES[0], Judged(Path(name), {}, measured, found, name), 1.0, 2.0)

    near, far, copies = tried("near", 0.5), tried("far", 0.9), tried("copies", 0.1, True)
    words = choose.recommend([far, copies, near])
    assert "KD-own 0.5" in words and "surely nearer" in words and "Vetoed" in words
    assert "perhaps nearer" in choose.recommend([near, tried("close", 0.55)])
    assert choose.recommend([copies]).startswith("No recommendation")
    assert f"Nearest to the data: {choose.CANDIDATES[0].name} (KD-own 0.1" in choose.recommend([copies])
    few = tried("few", 0.3)
    for name in ("vetoed", "because"):  # the panel could not be measured
        del few.judged.found[name]
    assert "(KD-own 0.3 (0.2 to 0.4), no verdict)" in choose.recommend([few])


def test_choose_holds_out_a_part_where_nothing_else_is(tmp_path, capsys):
    for i in range(80):
        write_picture(tmp_path / "mine" / f"{i}.png", (4, 4, 3), seed=i)
    words = [
        "conv-vae",
        "--data.name",
        "image_folder",
        "--data.folder",
        str(tmp_path / "mine"),
        "--data.size",
        "4",
        "4",
    ]
    words += ["--data.data-dir", str(tmp_path / "sets"), "--run-dir", "x"]
    like = choose._with_held_out(cli.parse_train(words))
    assert like.experiment.data.options["split"] == "train[:90%]" and "measured by the rest" in capsys.readouterr().err
    assert (len(build_source(like.experiment)), len(held_out(like.experiment, None))) == (72, 8)
    asked = cli.parse_train([*words, "--data.split", "train[:75%]"])
    assert choose._with_held_out(asked).experiment.data.options["split"] == "train[:75%]"
    with pytest.raises(UsageError, match=r"4 examples are held out: .* more than 5"):
        choose._with_held_out(cli.parse_train([*words, "--data.split", "train[:95%]"]))


def test_choose_measures_what_only_its_own_words_name(monkeypatch, quick_runs, tmp_path):
    """A directory of prepared sets and a data set of the user's own, which a run folder alone would not be trusted
    with."""
    (tmp_path / "my_set.py").write_text("from test_choose import own_set as build\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny = choose.Candidate("vae", "mlp-vae", ("--model.width", "8", "--batch-size", "8"), "tests")
    monkeypatch.setattr(choose, "CANDIDATES", [tiny])
    monkeypatch.setattr(choose, "prepare_process", lambda: None)
    words = ["--data.name", "my_set:build", "--data.data-dir", str(tmp_path / "sets"), "--budget", "1s", "--n", "40"]
    words += ["--features", "pixels-pca64", "--out", str(tmp_path / "out")]
    assert evaluate.evaluate(["choose", *words]) == 0
    assert (tmp_path / "out/evaluation/results.json").exists()


def own_set(*, split: str = "train", data_dir: Path | str | None = None):
    return synthetic_source(tiny_run.GREY, 60, ("train", "test").index(split))
