"""Known cases and their names, what classifiers find, path lengths, and records that refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest

from genjax_art.benchmark.known_cases import CASES, known_case
from genjax_art.errors import UsageError
from genjax_art.metrics.classes import (
    class_histogram,
    inception_score,
    softmax,
    style_entropy,
    temperature,
)
from genjax_art.metrics.panel import Reading, read, readings
from genjax_art.metrics.path_length import path_lengths, trimmed
from genjax_art.metrics.record import Record, check_comparable, versions

# The panel


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_known_case_is_named(name, seed):
    case = known_case(name, seed=seed)
    samples, held = readings(case.train, case.held, case.fake, case.held_styles, case.fake_styles)
    verdict = read(samples, held)
    assert verdict.words == case.words, (verdict, samples, held)
    assert abs(samples.copy_rate - case.copy_rate) < 0.02


READ = Reading(0.0, 0.0, 1.0, 1.0, 2.0, 10.0, 0.0, 0.4)


def test_vetoes_come_first_and_all_of_them_are_said():
    noise = replace(READ, density=0.0, realism=0.1, rarity=math.nan, style_entropy=2.0)
    assert read(noise, READ).words == ("off the manifold",)
    both = read(replace(noise, copy_rate=0.3, duplicates=0.95), READ)
    assert both.words == ("copies", "off the manifold", "collapsed") and both.vetoed
    assert "30%" in both.sentence and "95%" in both.sentence
    one_way = replace(noise, vendi=1.0)  # seen from the data, whatever is far lies in one direction
    assert read(one_way, READ).words == ("off the manifold",)


def test_novelty_is_undecided_style_on_the_manifold():
    undecided = replace(READ, style_entropy=0.6)
    assert read(undecided, READ).words == ("new",) and not read(undecided, READ).vetoed
    assert read(replace(undecided, copy_rate=0.06), READ).words == ("copies",)
    assert read(replace(undecided, duplicates=0.9), READ).words == ("collapsed",)
    assert read(replace(READ, style_entropy=None), READ).words == ("like the data",)


def test_truncation_alone_is_no_copying_and_nearness_is_said():
    near = replace(READ, copy_test=-9.0)
    assert read(near, READ).words == ("near the training data",) and not read(near, READ).vetoed
    assert "C_T -9.0" in read(near, READ).sentence
    assert read(replace(near, copy_rate=0.3), READ).words == ("copies",)
    assert read(replace(near, style_entropy=0.6), READ).words == ("new",)
    for unknown in (math.nan, -2.9, 9.0):
        assert read(replace(READ, copy_test=unknown), READ).words == ("like the data",)
    assert read(replace(near, density=1.5, rarity=1.5), READ).words == ("truncated",)
    assert read(replace(near, density=1.5, rarity=1.5, copy_test=0.0), READ).words == ("like the data",)


# Classifiers


def test_inception_score_by_hand():
    assert inception_score(np.eye(5)) == pytest.approx(5)
    assert inception_score(np.tile([[0.2, 0.8]], (7, 1))) == pytest.approx(1)
    p = np.asarray([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.0, 1.0]])

    def whole(rows):
        mean = rows.mean(0)
        return np.exp(np.mean([sum(a * np.log(a / b) for a, b in zip(r, mean, strict=True) if a > 0) for r in rows]))

    assert inception_score(p) == pytest.approx(whole(p))
    assert inception_score(p, splits=2) == pytest.approx((whole(p[:2]) + whole(p[2:])) / 2)
    with pytest.raises(ValueError, match="1 to n parts"):
        inception_score(p, splits=5)
    for bad in (2 * p, -p, p[:0]):
        with pytest.raises(ValueError, match="probabilities"):
            inception_score(bad)


def test_style_entropy_is_in_nats_and_finite_at_certainty():
    p = np.asarray([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    np.testing.assert_allclose(style_entropy(p), [0, math.log(3), math.log(2)])
    np.testing.assert_allclose(style_entropy(softmax(np.asarray([[1e30, -1e30], [5.0, 5.0]]))), [0, math.log(2)])


def calibration_error(p, labels):
    """Mean gap between how sure and how right predictions are, over fifteen bins of sureness (arXiv:1706.04599)."""
    sure, right = p.max(1), p.argmax(1) == labels
    return np.abs(np.bincount(np.minimum((sure * 15).astype(int), 14), sure - right)).sum() / len(p)


def test_the_temperature_at_which_labels_were_drawn_is_found():
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 4))
    labels = (rng.random((20_000, 1)) > softmax(logits).cumsum(1)).sum(1)
    assert temperature(logits, labels) == pytest.approx(1.0, rel=0.05)
    assert temperature(3.0 * logits, labels) == pytest.approx(3 * temperature(logits, labels), rel=1e-6)
    assert temperature(logits, logits.argmax(1)) == pytest.approx(0.05, rel=1e-6)
    assert temperature(logits, rng.integers(4, size=20_000)) > 10
    overconfident, calibrated = softmax(3 * logits), softmax(3 * logits, temperature(3 * logits, labels))
    assert calibration_error(calibrated, labels) < 0.02 < 0.1 < calibration_error(overconfident, labels)
    for bad in (np.full(20_000, 4), np.full(20_000, -1)):
        with pytest.raises(ValueError, match="calibration"):
            temperature(logits, bad)


def test_class_histograms():
    found = class_histogram(np.asarray([0, 0, 1, 0]), np.asarray([0, 1, 2, 2]), 4)
    assert found.modes == 2 and found.coverage == 0.5
    assert found.divergence == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert class_histogram(np.asarray([2, 1, 2, 0]), np.asarray([0, 1, 2, 2]), 3).divergence == pytest.approx(0)
    for samples, data, match in (([3], [0, 1], r"do not have: \[3\]"), ([4], [0], "samples"), ([0], [], "data")):
        with pytest.raises(ValueError, match=match):
            class_histogram(np.asarray(samples, int), np.asarray(data, int), 4)


# Path lengths


def ends(n=40, d=6):
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(2, n, d))
    return first, last, rng.random(n) * 0.9


def straight(a, b, t):
    return a + t[:, None] * (b - a)


def test_the_path_of_a_linear_decoder_is_known():
    first, last, time = ends()
    matrix = np.random.default_rng(1).normal(size=(6, 9))
    found = path_lengths(lambda z: z @ matrix, first, last, time, between=straight, batch=7)
    np.testing.assert_allclose(found, np.sum(((last - first) @ matrix) ** 2, 1), rtol=1e-6)
    on_circles = path_lengths(lambda z: 3.0 * z, first, first[::-1].copy(), time)
    lengths = np.linalg.norm(first, axis=1)
    angle = np.arccos(np.sum(first * first[::-1], 1) / lengths / lengths[::-1])
    same = np.abs(lengths / lengths[::-1] - 1) < 0.1  # on these ways the radius stays
    np.testing.assert_allclose(on_circles[same], (3 * angle * lengths)[same] ** 2, rtol=0.2)
    assert path_lengths(lambda z: np.ones((len(z), 2)), first, last, time).max() == 0


def test_paths_of_trees_and_what_is_refused():
    first, last, time = ends()
    trees = [{"a": x, "b": x[:, :2]} for x in (first, last)]
    found = path_lengths(lambda z: np.concatenate([z["a"], z["b"]], 1), *trees, time)
    assert found.shape == (40,) and np.isfinite(found).all()
    for options, moments in (({}, time + 0.5), ({"step": 0.0}, time), ({}, time[:3])):
        with pytest.raises(ValueError, match="path lengths need a time"):
            path_lengths(lambda z: z, first, last, moments, **options)
    with pytest.raises(ValueError, match="finite"):
        path_lengths(lambda z: z * np.nan, first, last, time)
    assert len(trimmed(np.arange(1000.0))) == 982 and trimmed(np.arange(1000.0)).max() == 990


# Records

RECORD = Record("kid-own", 0.25, 0.2, 0.3, 500, 400, "abc", "area 32", k=None, versions=versions(), seconds=1.5)


def test_records_that_measure_the_same_are_compared():
    check_comparable(RECORD, replace(RECORD, value=0.5, low=0.4, high=0.6, seed=3))


@pytest.mark.parametrize(
    ("field", "value"),
    [("metric", "fd-own"), ("extractor", "x"), ("resize", "y"), ("n_real", 1), ("n_fake", 1), ("k", 5), ("dtype", "z")],
)
def test_other_records_are_refused_by_name(field, value):
    with pytest.raises(UsageError, match=rf"differ in {field} \(.* and {value}\)$"):
        check_comparable(RECORD, replace(RECORD, **{field: value}))
