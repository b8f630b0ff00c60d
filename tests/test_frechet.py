"""The Frechet distance against closed forms and an independent formula, and the features of music it is taken of."""

import numpy as np
import pytest
from test_music_metrics import CHORALE, NOISE, random_clips, rolls_of

from genjax_art.metrics.frechet import frechet_distance, gaussian_frechet
from genjax_art.metrics.music import music_metrics
from genjax_art.metrics.music_features import UNITS, music_features


def gaussian(seed, d=5, rank=5):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, rank))
    return rng.normal(size=d), root @ root.T


def test_gaussians_of_commuting_covariances_have_a_closed_form():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    a, b = np.asarray([1.0, 4.0, 9.0]), np.asarray([16.0, 0.25, 1.0])
    mean = np.asarray([1.0, -2.0, 2.0])
    distance = gaussian_frechet(mean, (rotation * a) @ rotation.T, 0 * mean, (rotation * b) @ rotation.T)
    assert distance == pytest.approx(9 + (1 - 4) ** 2 + (2 - 0.5) ** 2 + (3 - 1) ** 2, rel=1e-12)


def test_it_is_the_trace_formula_of_any_gaussians():
    """The trace of (A B)^(1/2) is the sum of the roots of the eigenvalues of A B, which is not symmetric."""
    for seed in range(5):
        (mean_x, a), (mean_y, b) = gaussian(2 * seed), gaussian(2 * seed + 1)
        roots = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
        expected = np.sum((mean_x - mean_y) ** 2) + np.trace(a) + np.trace(b) - 2 * roots
        assert gaussian_frechet(mean_x, a, mean_y, b) == pytest.approx(expected, rel=1e-10)


def test_singular_covariances_are_exact():
    (mean, a), (_, b) = gaussian(0, rank=1), gaussian(1, rank=1)
    u, v = np.linalg.eigh(a)[1][:, -1], np.linalg.eigh(b)[1][:, -1]
    expected = np.trace(a) + np.trace(b) - 2 * np.sqrt(np.trace(a) * np.trace(b)) * abs(u @ v)
    assert gaussian_frechet(mean, a, mean, b) == pytest.approx(expected, rel=1e-7)
    assert gaussian_frechet(mean, a, mean, a) < 1e-7 * np.trace(a)


def test_sets_of_examples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), 2 * rng.normal(size=(30, 4)) + 1
    assert 0 <= frechet_distance(x, x[::-1]) < 1e-12
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-12)
    shift = np.asarray([3.0, 0.0, -4.0, 0.0])
    assert frechet_distance(x, x + shift) == pytest.approx(25.0, rel=1e-12)
    assert frechet_distance(x, x.mean(0) + 3 * (x - x.mean(0))) == pytest.approx(4 * x.var(0).sum(), rel=1e-12)
    assert frechet_distance(x[:1], x[1:2]) == pytest.approx(np.sum((x[0] - x[1]) ** 2))
    assert frechet_distance(np.float32(x), np.float32(x)) < 1e-12
    assert np.isfinite(frechet_distance(1e100 * x, -1e100 * y))
    for bad in (x[:0], np.where(x > 2, np.nan, x)):
        with pytest.raises(ValueError, match="finite features"):
            frechet_distance(bad, x)


def features_of(*clips):
    return music_features(music_metrics(rolls_of(*clips)))


def test_features_are_measures_in_their_units_and_silence_is_far_away():
    measures = music_metrics(rolls_of(CHORALE, NOISE, []))
    features = music_features(measures)
    assert features.shape == (3, len(UNITS)) and np.isfinite(features).all()
    for column, (name, unit) in zip(features.T, UNITS.items(), strict=True):
        np.testing.assert_allclose(column[:2] * unit, measures[name][:2])
    assert features[2, list(UNITS).index("pitch_range")] == 0.0
    assert set(measures) - set(UNITS) == {"length_share_1"}


def test_music_like_the_reference_is_nearer_than_other_music():
    clips = random_clips(120)
    reference, alike = features_of(*clips[:60]), features_of(*clips[60:])
    moved = [[(s, n, min(p + 12 * (v == 0), 89), v) for s, n, p, v in rows] for rows in clips[60:]]
    near, far = frechet_distance(alike, reference), frechet_distance(features_of(*moved), reference)
    assert near < 0.5 * far < 0.05 * frechet_distance(features_of([]), reference)
