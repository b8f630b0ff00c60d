"""Frechet and kernel distances, Vendi scores and intervals against closed forms and full matrices."""

import math

import numpy as np
import pytest

from genjax_art.metrics import stream
from genjax_art.metrics.bootstrap import interval_of_halves, interval_of_means
from genjax_art.metrics.frechet import frechet, frechet_distance, frechet_infinity, gaussian_frechet
from genjax_art.metrics.kernels import kid, median_distance, mmd_rbf
from genjax_art.metrics.vendi import spectrum, vendi


def sets(n=30, m=45, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 2.0, 1.5 * rng.normal(size=(m, d)) + 2.5


def discrepancy(kernel, x, y):
    """The unbiased squared MMD by full matrices."""
    n, m = len(x), len(y)
    own = [(kernel(a, a).sum() - np.trace(kernel(a, a))) / (len(a) * (len(a) - 1)) for a in (x, y)]
    return own[0] + own[1] - 2 * kernel(x, y).sum() / (n * m)


def cubic(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def radial(bandwidth):
    return lambda x, y: np.exp(-((x[:, None] - y[None]) ** 2).sum(-1) / (2 * bandwidth**2))


@pytest.mark.parametrize(("n", "m"), [(30, 45), (4, 45), (30, 4), (3, 4)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_both_routes_are_the_distance_of_the_moments(n, m, ddof):
    """With more rows than features and with fewer, where only the rows themselves are factors."""
    x, y = sets(n, m)
    moments = [m for rows in (x, y) for m in (rows.mean(0), np.cov(rows.T, ddof=ddof))]
    found = frechet(x, y, ddof=ddof)
    assert found.value == pytest.approx(gaussian_frechet(*moments), rel=1e-7)
    assert found.rank_deficient == (min(n, m) <= 5)


def test_the_distance_of_music_stays_that_of_the_likeliest_covariances():
    x, y = sets()
    assert frechet_distance(x, y) == frechet(x, y, ddof=0).value < frechet(x, y).value
    with pytest.raises(ValueError, match="finite features, 2 rows"):
        frechet(x[:1], y)


def test_at_infinity_the_bias_of_few_samples_is_gone():
    """Gaussians one unit apart in each of 8 dimensions: the distance is 8, and that of 200 samples is above it."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(20_000, 8)), rng.normal(size=(400, 8)) + 1.0
    found = frechet_infinity(real, fake, points=12, smallest=40)
    assert found.sizes[0] == 40 and found.sizes[-1] == 400 and len(found.distances) == 12
    assert found.distances[-1] == frechet(real, fake).value
    assert found.distances[0] > found.distances[-1]
    assert abs(found.value - 8) < 0.5
    line = frechet_infinity(fake, fake, points=2, smallest=100)
    a, b = line.distances
    assert line.value == pytest.approx((400 * b - 100 * a) / 300)
    for options in ({"points": 1}, {"smallest": 400}, {"smallest": 1}):
        with pytest.raises(ValueError, match="extrapolation"):
            frechet_infinity(real, fake, **options)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_kid_is_that_of_full_matrices(shift, monkeypatch):
    """Far from the origin, too, where float32 products are wrong by more than the whole distance."""
    monkeypatch.setattr(stream, "COLUMNS", 64)
    x, y = sets(100, 130)
    x, y = x + shift, y + shift
    expected = discrepancy(cubic, x, y)
    assert kid(x, y).value == pytest.approx(expected, rel=1e-6)


def test_rbf_is_that_of_full_matrices_wherever_the_origin_is():
    x, y = sets()
    assert mmd_rbf(x, y, 1.7).value == pytest.approx(discrepancy(radial(1.7), x, y), rel=1e-5)
    assert mmd_rbf(x + 1e6, y + 1e6, 1.7).value == pytest.approx(mmd_rbf(x, y, 1.7).value, rel=1e-4)
    lengths = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))[np.triu_indices(30, 1)]
    assert median_distance(x) == pytest.approx(np.median(lengths))
    assert mmd_rbf(x, y).value == pytest.approx(mmd_rbf(x, y, float(np.median(lengths))).value)


def test_kernel_distances_are_unbiased():
    """Of two halves of one set they are 0 in the mean: over these draws within three standard errors."""
    values = [kid(*np.random.default_rng(seed).normal(size=(2, 40, 3))).value for seed in range(30)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(30)
    assert min(values) < 0 < max(values)


def test_what_examples_add_is_the_slope_by_their_weight():
    """Doubling an example moves the distance by what it is said to add, to first order in 1/n."""
    x, y = sets(200, 150, 3)
    found = kid(x, y)
    assert found.of_x.mean() == pytest.approx(0, abs=1e-9) and found.of_y.mean() == pytest.approx(0, abs=1e-9)
    row, column = int(np.argmax(found.of_x)), int(np.argmin(found.of_y))
    more_x, more_y = np.concatenate([x, x[[row]]]), np.concatenate([y, y[[column]]])
    assert kid(more_x, y).value - found.value == pytest.approx(found.of_x[row] / 200, rel=0.1)
    assert kid(x, more_y).value - found.value == pytest.approx(found.of_y[column] / 150, rel=0.1)


def test_kernels_of_extremes_are_finite_or_refused():
    x, y = sets()
    alone = (radial(1.0)(x, x).sum() - 30) / (30 * 29)
    assert mmd_rbf(x, y + 1e100, 1.0).value == pytest.approx(alone + 1, rel=1e-6)  # there float64 has one y only
    assert math.isfinite(kid(1e40 * x, 1e40 * y).value)
    with pytest.raises(ValueError, match="no room in float64"):
        kid(1e100 * x, y)
    with pytest.raises(ValueError, match="positive bandwidth"):
        mmd_rbf(0 * x, y)
    with pytest.raises(ValueError, match="finite features, 2 rows"):
        kid(x[:1], y)


def entropy_score(x, order):
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    p = np.linalg.eigvalsh(rows @ rows.T / len(x))
    p = p[p > 1e-12]
    if order == np.inf:
        return 1 / p.max()
    return np.exp(-(p * np.log(p)).sum()) if order == 1 else (p**order).sum() ** (1 / (1 - order))


@pytest.mark.parametrize("order", [0.5, 1, 2, np.inf])
@pytest.mark.parametrize("n", [3, 5, 50])
def test_vendi_is_that_of_the_full_matrix(order, n):
    x = sets(n)[0]
    assert vendi(x, order) == pytest.approx(entropy_score(x, order), rel=1e-9)


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 1000, np.inf])
def test_vendi_counts_what_is_different(order):
    assert vendi(np.eye(4), order) == pytest.approx(4)
    assert vendi(np.tile(np.eye(4), (25, 1)), order) == pytest.approx(4)
    assert vendi(np.ones((20, 3)), order) == pytest.approx(1)
    assert vendi(1e140 * np.tile(np.eye(2), (5, 1)), order) == pytest.approx(2)


def test_vendi_refuses_what_has_no_direction():
    assert spectrum(sets()[0]).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="all zeros"):
        vendi(np.zeros((3, 2)))
    for order in (-1.0, math.nan):
        with pytest.raises(ValueError, match="order"):
            vendi(np.eye(2), order)


def test_intervals_of_means_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        low, high = interval_of_means(lambda mean: mean, rng.normal(size=60), resamples=200, seed=seed)
        inside += low <= 0 <= high
    assert 180 <= inside <= 198
    assert interval_of_means(lambda a, b: a - b, np.ones(5), np.zeros(7, bool)) == (1.0, 1.0)


def test_intervals_of_halves_have_the_spread_of_sets():
    """The standard error of a mean is known; halves are as far from the whole as sets of that size from the truth."""
    x = np.random.default_rng(0).normal(size=(400, 1))
    low, high = interval_of_halves(lambda rows: float(rows.mean()), x, repeats=200)
    assert (low + high) / 2 == pytest.approx(x.mean())
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)


def test_intervals_refuse_what_has_none():
    for call in (
        lambda: interval_of_means(lambda m: m, np.zeros(0)),
        lambda: interval_of_means(lambda m: m, np.zeros(3), level=1.0),
        lambda: interval_of_halves(lambda x: 0.0, np.zeros((3, 1))),
        lambda: interval_of_halves(lambda x: 0.0, np.zeros((30, 1)), repeats=1),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("jitter", [1e-2, 1e-4, 1e-5])
def test_near_copies_are_near_whatever_lies_far(jitter):
    """Most of the data are one picture with a little noise: the usual bandwidth is that of the noise."""
    rng = np.random.default_rng(0)
    centre = 3 * rng.normal(size=64)

    def rows(share):
        x = rng.normal(size=(120, 64))
        near = rng.random(120) < share
        x[near] = centre + jitter * rng.normal(size=(near.sum(), 64))
        return x.astype(np.float32)

    x, y = rows(0.8), rows(0.6)
    expected = discrepancy(radial(median_distance(x)), x.astype(np.float64), y.astype(np.float64))
    assert mmd_rbf(x, y).value == pytest.approx(expected, rel=1e-4)
    found = mmd_rbf(x, x, median_distance(x) / 100)
    x = x.astype(np.float64)
    assert found.value == pytest.approx(discrepancy(radial(median_distance(x) / 100), x, x), rel=1e-2)
