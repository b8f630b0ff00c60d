"""Stacked MNIST: the data, their judge, and the rows of the benchmark, on patterns of noise and on real digits."""

import json
import math
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from small import shrink

from genjax_art.benchmark import digit_classifier, modes, stacked_mnist
from genjax_art.benchmark.digit_classifier import Classifier, Judge, fit_judge
from genjax_art.build import build_plan, complete, load_preset
from genjax_art.data.contract import DataError, array_source
from genjax_art.data.open import open_source
from genjax_art.data.sets.stacked_mnist import LENGTHS, build
from genjax_art.errors import RunError, UsageError
from genjax_art.metrics.modes import class_coverage, noise_floor
from genjax_art.run import training


def digits_source(n=40, side=8, seed=0):
    """Ten fixed patterns, each with a little noise of its own."""
    patterns = np.random.default_rng(7).integers(0, 200, (10, side, side, 1))
    rng, label = np.random.default_rng(seed), np.arange(n, dtype=np.int32) % 10
    return array_source((patterns[label] + rng.integers(0, 50, (n, side, side, 1))).astype(np.uint8), label)


def opened(split="train", data_dir="nowhere", digits=None, **asked):
    """The stacked source, and what it asked for."""
    calls = []

    def open_digits(name, **options):
        calls.append((name, options))
        return digits or digits_source()

    with mock.patch("genjax_art.data.digits.open_source", open_digits):
        return build(split=split, data_dir=data_dir, **asked), calls


def test_each_channel_shows_a_digit_and_the_label_is_all_three():
    digits = digits_source()
    source, _ = opened(digits=digits)
    assert len(source) == LENGTHS["train"] == 128_000
    assert source.spec.shape == (8, 8, 3) and (source.spec.low, source.spec.high) == (-1.0, 1.0)
    indices = np.array([5, 0, 127_999])
    taken = source.take(indices)
    assert taken["x"].dtype == np.uint8 and taken["label"].dtype == np.int32
    for i, index in enumerate(indices):
        shown = [digits.take(source.rows[index, k : k + 1]) for k in range(3)]
        for k in range(3):
            np.testing.assert_array_equal(taken["x"][i, ..., k], shown[k]["x"][0, ..., 0])
        assert source.spec.classes[taken["label"][i]] == "".join(str(one["label"][0]) for one in shown)


def test_the_pictures_are_drawn_once_and_evenly_and_splits_differ():
    source, again, held_out = opened()[0], opened()[0], opened("test")[0]
    np.testing.assert_array_equal(source.rows, again.rows)
    assert len(held_out) == 26_000 and not np.array_equal(held_out.rows, source.rows[:26_000])
    shares = np.bincount(source.rows.reshape(-1), minlength=40) / source.rows.size
    assert np.abs(shares - 1 / 40).max() < 5 * math.sqrt(1 / 40 / source.rows.size)
    assert len(np.unique(source.rows, axis=0)) > 40**3 * 0.8  # 128,000 draws of 64,000 triples meet 86 %


def test_the_digits_are_those_of_mnist_where_it_is_prepared(tmp_path, capsys):
    source, calls = opened("test", tmp_path, size=(32, 32))
    assert source.origin == "mnist_5k"
    assert "of mnist_5k" in capsys.readouterr().err
    options = {"split": "test", "data_dir": tmp_path, "size": (32, 32), "channels": 1}
    assert calls == [("mnist_5k", options)]
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").touch()
    source, calls = opened("test", tmp_path, size=(32, 32))
    assert source.origin == "mnist"
    assert capsys.readouterr().err == ""
    assert calls == [("mnist", options)]


@pytest.mark.parametrize(("asked", "kind"), [({"split": "all"}, DataError), ({"channels": 1}, UsageError)])
def test_it_opens_by_name_and_refuses_what_it_cannot_give(asked, kind):
    with pytest.raises(kind, match="stacked_mnist"):
        open_source("stacked_mnist", **asked)


@pytest.mark.usefixtures("own_data")
def test_real_digits_are_stacked(shared_data):
    source = open_source("stacked_mnist", split="test", data_dir=shared_data / "tfds")
    assert source.origin == "mnist" and source.spec.shape == (28, 28, 3)
    x = source.take(np.arange(500))["x"]
    np.testing.assert_allclose(x.mean() / 255, 0.1325, atol=0.01)  # of MNIST's pixels


def test_modes_are_combinations_of_classes():
    found = class_coverage(np.array([[0, 0, 0], [1, 2, 3], [1, 2, 3], [9, 9, 9]]), 10)
    assert found.counts.shape == (1000,)
    assert {int(mode): int(found.counts[mode]) for mode in np.flatnonzero(found.counts)} == {0: 1, 123: 2, 999: 1}
    assert (found.modes, found.samples, found.high_quality) == (3, 4, 1.0)
    assert found.reverse_kl == pytest.approx(0.5 * math.log(500) + 2 * 0.25 * math.log(250))
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3), -1).reshape(-1, 3)
    assert class_coverage(every, 10).modes == 1000
    assert class_coverage(every, 10).reverse_kl == pytest.approx(0)
    assert class_coverage(every[:1], 10).reverse_kl == pytest.approx(math.log(1000))


def test_a_perfect_sampler_scores_the_noise_floor():
    n, k = 26_000, 1000
    floor = noise_floor(k, n)
    assert floor == pytest.approx(0.0192, abs=1e-4)
    sd = math.sqrt(2 * (k - 1)) / (2 * n)  # of chi-squared / 2n
    draws = np.random.default_rng(0).integers(0, 10, (5, n, 3))
    found = [class_coverage(draw, 10) for draw in draws]
    assert [one.modes for one in found] == [1000] * 5
    # exactly: K times the mean of (c / n) log(c K / n) over the binomial law of a count
    c = np.arange(1, 200)
    log_p = [math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1) for m in c]
    p = np.exp(log_p + c * math.log(1 / k) + (n - c) * math.log1p(-1 / k))
    exact = k * np.sum(p * c / n * np.log(c * k / n))
    assert floor == pytest.approx(exact, rel=0.02)
    assert np.mean([one.reverse_kl for one in found]) == pytest.approx(exact, abs=4 * sd / math.sqrt(5))


def test_the_judge_learns_the_digits_and_judges_any_number_of_them(monkeypatch):
    monkeypatch.setattr(digit_classifier, "SHIFT", 0)  # these patterns have no margin
    held_out = digits_source(50, seed=1)
    model = Classifier((4, 4, 4), 0.0)
    before, judge = (
        fit_judge(digits_source(200), held_out, steps=steps, batch_size=20, model=model) for steps in (1, 150)
    )
    assert before.accuracy < 0.6 < 0.95 < judge.accuracy
    assert judge.held_out == 50
    x = held_out.take(np.arange(50))["x"].astype(np.float32) / 127.5 - 1
    whole = judge.classes(x)
    assert np.mean(whole == np.arange(50) % 10) == judge.accuracy
    monkeypatch.setattr("genjax_art.sampling.CHUNK", 20)
    np.testing.assert_array_equal(judge.classes(x), whole)


def brightness(x):
    """A judge that needs no training: the mean of a picture in tenths of the range."""
    return np.floor((x.mean((1, 2, 3)) + 1) * 4.999).astype(int)


def test_channels_are_judged_apart_as_they_would_be_written():
    x = np.zeros((2, 4, 4, 3), np.float32)
    x[0] += np.array([-0.95, 0.05, 0.85])
    x[1] += np.array([-7.0, 0.05, 7.0])  # networks without a last tanh reach beyond the range
    np.testing.assert_array_equal(stacked_mnist.found_in(x, Judge(brightness, 1.0, 1)), [[0, 5, 9], [0, 5, 9]])


@pytest.fixture
def tiny(own_data, quick_runs, monkeypatch):
    """The preset, shrunk, on real digits, judged by their brightness: a judge takes too long to train. 30 samples."""
    preset = shrink(load_preset("stacked-mnist"))
    for name, value in {
        "fit_judge": lambda digits, held_out, *, steps: Judge(brightness, 0.5, len(held_out)),
        "load_preset": lambda name: preset,
        "SAMPLES": 30,
        "PIECE": 20,
    }.items():
        monkeypatch.setattr(stacked_mnist, name, value)
    for module in (modes, stacked_mnist):
        monkeypatch.setattr(module, "prepare_process", lambda: None)  # it is for processes of their own
    return SimpleNamespace(ground=stacked_mnist.ground_of(preset.data), preset=preset)


@pytest.fixture(scope="module", autouse=True)
def no_such_judge_is_left():
    yield
    stacked_mnist._ground.cache_clear()


@pytest.mark.thorough
def test_a_row_is_trained_and_stands_beside_the_published(tiny, tmp_path, capsys):
    modes.main(["--only", "stacked-mnist", "--steps", "2", "--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text(), parse_constant=pytest.fail)
    assert (row["name"], row["seeds"], row["of_modes"], row["steps"]) == ("stacked-mnist", 1, 1000, 2)
    (one,) = row["by_seed"]
    assert [look["step"] for look in one["history"]] == [1, 2]
    assert 1 <= row["modes"] == one["modes"] == one["history"][-1]["modes"] <= 30
    assert row["reverse_kl"] == one["reverse_kl"] >= math.log(1000 / 30) - 1e-9
    assert (row["digits"], row["classifier_accuracy"], row["samples"]) == ("mnist_5k", 0.5, 30)
    assert row["pictures_seen"] == 2 * tiny.preset.run.batch_size
    said = capsys.readouterr()
    assert "reduced protocol" in said.out and "digits of mnist_5k" in said.out and "50.00% of 500" in said.out
    assert "R3GAN" in said.out and "reverse KL 0.029  (published)" in said.out
    assert "step 2 of 2: modes" in said.err


def test_a_run_that_fails_is_a_result(tiny, monkeypatch):
    def fails(*arguments, **options):
        raise RunError("generator/loss is nan at step 1")

    monkeypatch.setattr(stacked_mnist, "train", fails)
    row = stacked_mnist.measure("stacked-mnist-r1", 2, 2)
    assert (row["modes"], row["reverse_kl"], row["failed_runs"]) == (0, None, 2)
    assert json.dumps(row, allow_nan=False)
    text = "\n".join(stacked_mnist.lines(row | {"seconds": 1.0}))
    assert "modes 0/1000  reverse KL none" in text and "RpGAN+R1" in text and "fails" in text


def test_the_rows_are_the_ablation():
    preset, gan, without = (
        complete(stacked_mnist.experiment_of(name, None)).objective.options
        for name in ("stacked-mnist", "stacked-mnist-gan", "stacked-mnist-r1")
    )
    assert preset == complete(load_preset("stacked-mnist")).objective.options
    assert (preset["loss"], gan["loss"]) == ("relativistic", "non_saturating")
    assert gan == {**preset, "loss": "non_saturating"}
    weights = preset["penalties"]
    assert weights["r1"] and weights["r2"] and preset["lazy"] == 1
    assert without == {**preset, "penalties": {**weights, "r2": 0.0}}
    assert stacked_mnist.experiment_of("stacked-mnist", 7).run.steps == 7


@pytest.mark.thorough
def test_finished_runs_are_measured(tiny, tmp_path, capsys):
    plan = build_plan(tiny.preset, tiny.ground.source.spec)
    assert training.run(plan, tiny.ground.source, tmp_path / "run", how="jit") == 0
    capsys.readouterr()
    stacked_mnist.main([str(tmp_path / "run"), "--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["step"] == 2 and 1 <= row["modes"] <= 30
    assert f"step 2: modes {row['modes']}/1000" in capsys.readouterr().out


def test_only_stacked_digits_are_judged(monkeypatch):
    monkeypatch.setattr(stacked_mnist, "build_source", lambda experiment, split: digits_source())
    with pytest.raises(UsageError, match="not on mnist_5k"):
        stacked_mnist.ground_of(load_preset("dcgan-small").data)
