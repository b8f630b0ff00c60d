"""What `--checkpoint best` is best by: of each medium the choices and the default, and that data beat noise by them."""

import numpy as np
import pytest
from small import gan_experiment, noise

from genjax_art import media, parts
from genjax_art.build import build_plan
from genjax_art.config import from_json, to_json
from genjax_art.data.batches import to_range
from genjax_art.data.contract import array_source
from genjax_art.data.open import open_source
from genjax_art.errors import UsageError
from genjax_art.media.medium import find_medium
from genjax_art.presets import ring8
from genjax_art.run import scores
from genjax_art.run.scores import SCORES, score_by
from genjax_art.train.state import TrainState

MEDIA = parts.names(media, "MEDIUM")
SETS = {"image": ("mnist_5k", {}), "clip": ("moving_shapes", {}), "roll": ("chorales", {}), "points": ("ring8", {})}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(scores, "SCORED", 200)


@pytest.mark.parametrize("kind", MEDIA)
def test_by_default_examples_are_better_than_noise(kind):
    name, options = SETS[kind]
    source = open_source(name, **options)
    x = to_range(source.take(np.arange(len(source))[-200:])["x"], source.spec)
    fuzz = to_range(noise(source.spec, 200).take(np.arange(200))["x"], source.spec)
    score = score_by("default", source, 0)
    assert score(x) < 0.5 * score(fuzz) > 0  # unbiased ones may be a little below 0


@pytest.mark.parametrize("kind", MEDIA)
def test_the_choices_of_a_medium_are_known_and_others_refused_at_once(kind):
    name, options = SETS[kind]
    source, known = open_source(name, **options), find_medium(kind).scores
    assert set(known) <= set(SCORES) and known[0] != "kd_own"
    for other in set(SCORES) - set(known):
        with pytest.raises(UsageError, match=f"unknown --best-by for arrays of kind {kind} '{other}'; known: "):
            score_by(other, source, 0)


def test_conditional_samples_have_the_labels_of_what_they_are_compared_with(monkeypatch):
    label = np.repeat(np.arange(2, dtype=np.int32), [190, 10])
    source = array_source(np.zeros((200, 16, 16, 1), np.uint8), label, classes=("a", "b"))
    plan, asked = build_plan(gan_experiment(conditional=True), source.spec), []
    monkeypatch.setattr(scores.sampling, "sample", lambda *_, n, seed, label: asked.append(label) or np.zeros((n, 2)))
    monkeypatch.setattr(scores, "score_by", lambda *_: lambda made: 0.0)
    scores.scorer(plan, source)(TrainState(step=0, seed=0, params={}, opt_state={}, extras={}, ema={}))
    np.testing.assert_array_equal(asked[0], label[scores.rows_compared(source, plan.run.seed)])
    assert np.bincount(asked[0]).tolist() == [190, 10]


def test_every_score_is_some_mediums():
    assert set(SCORES) == {score for kind in MEDIA for score in find_medium(kind).scores}


def test_a_run_from_before_there_was_a_choice_keeps_its_score():
    written = to_json(ring8.EXPERIMENT)
    del written["run"]["best_by"]
    assert from_json(written).run.best_by == "sliced_wasserstein"
    assert from_json(to_json(ring8.EXPERIMENT)).run.best_by == "default"


def test_samples_that_are_not_finite_are_infinitely_far():
    source = open_source("mnist_5k")
    x = np.full((200, *source.spec.shape), np.nan, np.float32)
    assert score_by("default", source, 0)(x) == np.inf


@pytest.mark.parametrize("shape, kind", [((1, 8, 8, 1), "image"), ((8, 24, 60, 4), "roll"), ((8, 2), "image")])
def test_arrays_that_the_usual_score_does_not_fit_have_one_by_default(shape, kind):
    """A single picture, a bar and a half, points that are called pictures."""
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    assert np.isfinite(score_by("default", array_source(x, kind=kind), 0)(x))


def test_a_score_that_the_medium_has_not_is_refused_before_there_is_a_folder(command, tmp_path):
    words = ["ring8", "--steps", 1, "--run-dir", tmp_path / "run"]
    refused = command("train", *words, "--best-by", "kd_scattering")
    assert refused.status == 2 and "--best-by for arrays of kind points" in refused.err
    assert not (tmp_path / "run").exists()
