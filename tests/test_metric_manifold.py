"""Precision, recall, density, coverage, realism, rarity and copying against full matrices and known cases."""

import numpy as np
import pytest

from genjax_art.metrics.copying import (
    authentic,
    copy_rate,
    data_copying,
    duplicates,
    k_means,
    mann_whitney,
    nearest_training,
    neighbour_ratio,
)
from genjax_art.metrics.manifold import ball_radii, density, mean_rarity, overlaps, rarity, realism


def sets(n=60, m=90, d=4, seed=0, scale=1.2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), scale * rng.normal(size=(m, d))


def distances(x, y):
    apart = x[:, None] - y[None]
    return np.sqrt(np.einsum("pcd,pcd->pc", apart, apart))


def radii(x, k):
    return np.sort(distances(x, x), 1)[:, k]  # the nearest is the row itself


@pytest.mark.parametrize("closed", [True, False])
def test_overlaps_are_those_of_full_matrices(closed):
    real, fake = sets()
    real[7] = real[8]  # a copy is a neighbour
    fake[:5] = real[:5]  # and samples may lie on surfaces: that of the ball of a neighbour's neighbour
    matrix = distances(real, fake)
    inside = np.less_equal if closed else np.less
    for k, found in zip((1, 3, 5), overlaps(real, fake, (1, 3, 5), closed=closed), strict=True):
        of_real, of_fake = inside(matrix, radii(real, k)[:, None]), inside(matrix, radii(fake, k)[None])
        assert found.k == k
        assert found.precision == of_real.any(0).mean()
        assert found.recall == of_fake.any(1).mean()
        assert found.density == pytest.approx(of_real.sum(0).mean() / k, rel=1e-15)
        assert found.coverage == of_real.any(1).mean()
        assert 0 < found.precision < 1 or k > 1


def test_copies_lie_on_the_surface_of_their_neighbours_balls():
    """A sample that copies the k-th neighbour is inside a closed ball and outside an open one, at any rounding."""
    real = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    closed, opened = (overlaps(real, real, (2,), closed=c)[0] for c in (True, False))
    # each ball holds its centre and its two neighbours; an open one lacks the second
    assert closed.real_balls.sum() == 3 * 50
    assert opened.real_balls.sum() == 2 * 50


def test_known_radii_spare_the_search_and_change_nothing():
    real, fake = sets()
    known = ball_radii(real, (1, 3))
    np.testing.assert_array_equal(known, np.stack([radii(real, 1), radii(real, 3)], 1))
    assert density(real, fake, known[:, 1], 3) == overlaps(real, fake, (3,))[0].density
    for measure in (realism, rarity):
        np.testing.assert_array_equal(measure(real, fake, 1), measure(real, fake, 1, known[:, 0]))
        assert not np.array_equal(measure(real, fake, 1), measure(real, fake, 1, known[:, 1]), equal_nan=True)


def test_overlaps_of_known_sets():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 3))
    (like,) = overlaps(x, y, (5,))
    assert 0.9 < like.density < 1.1 and like.coverage > 0.9 and like.precision > 0.9 and like.recall > 0.9
    (far,) = overlaps(x, y + 100, (5,))
    assert far.density == far.coverage == far.precision == far.recall == 0
    (point,) = overlaps(x, np.tile(x[:1], (400, 1)), (5,))
    assert point.precision == 1 and point.coverage < 0.1 and point.recall <= 1 / 400
    for ks in ((), (0,), (400,)):
        with pytest.raises(ValueError):
            overlaps(x, y, ks)


def test_realism_is_that_of_the_full_matrix():
    real, fake = sets()
    radius = radii(real, 3)
    ratio = radius[:, None] / distances(real, fake)
    expected = ratio[radius <= np.median(radius)].max(0)
    np.testing.assert_allclose(realism(real, fake), expected, rtol=1e-12)
    assert realism(real, real[np.argmin(radius)][None]).item() == 1e8
    assert realism(real, np.full((1, 4), 1e9)).item() < 1e-8
    np.testing.assert_array_equal(realism(np.ones((9, 2)), np.asarray([[1.0, 1], [2, 2]])), [1e8, 0])


def test_rarity_is_that_of_the_full_matrix():
    real, fake = sets()
    radius = radii(real, 3)
    inside = distances(real, fake) <= radius[:, None]
    expected = np.where(inside, radius[:, None], np.inf).min(0)
    found = rarity(real, fake)
    np.testing.assert_allclose(found[inside.any(0)], expected[inside.any(0)], rtol=1e-14)
    assert np.isnan(found[~inside.any(0)]).all() and (~inside.any(0)).any()
    assert mean_rarity(found) == pytest.approx(np.mean(expected[inside.any(0)]))
    assert np.isnan(mean_rarity(np.full(3, np.nan)))
    np.testing.assert_allclose(rarity(1000 * real, 1000 * fake), 1000 * found, rtol=1e-12)


def test_authentic_is_by_the_training_examples_own_neighbour():
    """The training example's distance to its nearest other, looked up by its number, not by the sample's."""
    train = np.asarray([[0.0], [1.0], [10.0], [20.0]])
    fake = np.asarray([[10.5], [1.2], [30.5], [2.5], [0.4]])
    # nearest: 10 (its other at 9), 1 (at 1), 20 (at 10), 1 (at 1), 0 (at 1)
    np.testing.assert_array_equal(authentic(train, fake), [False, False, True, True, False])
    rng = np.random.default_rng(0)
    share = authentic(*rng.normal(size=(2, 1000, 5))).mean()
    assert 0.4 < share < 0.65


@pytest.mark.parametrize("dimension", [3, 40])
def test_the_copy_rate_finds_the_share_of_near_copies(dimension):
    rng = np.random.default_rng(0)
    train, held, fake = (rng.normal(size=(n, dimension)) for n in (1000, 600, 500))
    assert copy_rate(train, held, fake).rate < 0.02
    fake[:50] = train[:50] + 0.003 * rng.normal(size=(50, dimension))
    found = copy_rate(train, held, fake)
    assert abs(found.rate - 0.1) < 0.02
    assert found.near[:50].all()
    fake[:] = train[:500]
    assert copy_rate(train, held, fake).rate == 1
    assert copy_rate(train, held, fake + 50).rate == 0


def test_copies_of_repeated_examples():
    """To the last bit, as where files lie twice, they count once; near ones need a later neighbour."""
    rng = np.random.default_rng(0)
    once, held = rng.normal(size=(2, 200, 5))
    twice, fake = np.repeat(once, 2, 0), once[:100] + 1e-3
    assert copy_rate(twice, held, fake).rate == copy_rate(once, held, fake).rate > 0.95
    near = twice + 1e-3 * rng.normal(size=twice.shape)
    assert copy_rate(near, held, fake).rate < copy_rate(near, held, fake, second=3).rate
    assert copy_rate(near, held, fake, second=3).rate > 0.95


def test_ratios_of_neighbours():
    train = np.asarray([[0.0], [4.0], [4.0]])
    np.testing.assert_allclose(neighbour_ratio(train, np.asarray([[1.0], [0.0], [4.0], [9.0]])), [1 / 3, 0, 0, 1])
    np.testing.assert_array_equal(nearest_training(train, np.asarray([[0.1]]), 1), [[0]])
    for level, second in ((0.0, 2), (1.0, 2), (0.1, 1)):
        with pytest.raises(ValueError, match="copy rate"):
            copy_rate(train, train, train, level=level, second=second)


def test_mann_whitney_by_hand():
    x, y = np.asarray([1.0, 4.0, 6.0]), np.asarray([2.0, 3.0])
    # 4 of 6 pairs above; mean 3, variance 6 * 6 / 12
    assert mann_whitney(x, y) == pytest.approx((4 - 3) / np.sqrt(3))
    assert mann_whitney(y, x) == pytest.approx(-(4 - 3) / np.sqrt(3))
    assert mann_whitney(np.ones(5), np.ones(4)) == 0
    tied = mann_whitney(np.asarray([1.0, 2.0]), np.asarray([2.0, 2.0]))
    assert tied == pytest.approx((1 - 2) / np.sqrt(4 / 12 * (5 - 24 / 12)))


def test_data_copying_sees_copies_and_underfitting_and_a_standard_normal_in_between():
    rng = np.random.default_rng(0)
    train, held, like = (rng.normal(size=(n, 3)) for n in (600, 400, 400))
    assert data_copying(train, held, train[:400] + 0.05).value < -3
    assert data_copying(train, held, 3 * like).value > 3
    scores = [data_copying(train, *rng.normal(size=(2, 300, 3)), cells=3).value for _ in range(8)]
    assert np.abs(scores).max() < 3
    found = data_copying(train, held, like, cells=4)
    assert len(found.cells) == 4 and found.shares.sum() == pytest.approx(1)
    known = ~np.isnan(found.cells)
    assert found.value == pytest.approx(np.average(found.cells[known], weights=found.shares[known]))
    with pytest.raises(ValueError, match="no cell holds"):
        data_copying(train, held[:10], like)


def test_k_means_finds_what_lies_apart():
    rng = np.random.default_rng(0)
    centres = np.asarray([[0.0, 0], [100, 0], [0, 100]])
    x = centres[rng.integers(3, size=300)] + rng.normal(size=(300, 2))
    found = k_means(x, 3)
    assert sorted(map(tuple, np.round(found / 100).astype(int))) == [(0, 0), (0, 1), (1, 0)]
    assert k_means(np.ones((5, 2)), 3).shape == (3, 2)


def test_duplicates_are_twins_among_samples():
    real, fake = sets(100, 100)
    assert not duplicates(fake, real).any()
    fake[:10] = fake[10:20] + 1e-3
    np.testing.assert_array_equal(np.nonzero(duplicates(fake, real))[0], np.arange(20))
