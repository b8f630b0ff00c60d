"""Neighbours and balls against full matrices in float64, with copies, ties, far outliers, one device and eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.metrics import neighbours, stream
from genjax_art.metrics.neighbours import cross_balls, least, nearest, nearest_others, pair_squares
from genjax_art.metrics.stream import Frame, frame_of


def sets(n=40, m=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.3


def distances(x, y):
    apart = x[:, None] - y[None]
    return np.sqrt(np.einsum("pcd,pcd->pc", apart, apart))


def others(x):
    matrix = distances(x, x)
    np.fill_diagonal(matrix, np.inf)
    return matrix


def in_balls(x, y, radii_x, radii_y, closed=True):
    matrix = distances(x, y)[:, :, None]
    mine, theirs = ((matrix <= r) if closed else (matrix < r) for r in (radii_x[:, None, :], radii_y[None, :, :]))
    return mine.sum(1), mine.sum(0), theirs.sum(1), theirs.sum(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_are_those_of_the_full_matrix(dtype):
    x, y = (rows.astype(dtype) for rows in sets())
    matrix = distances(x.astype(np.float64), y.astype(np.float64))
    found, index = nearest(x, y, 4)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.sort(matrix, 1)[:, :4], rtol=1e-14)
    np.testing.assert_array_equal(index, np.argsort(matrix, 1)[:, :4])


def test_many_blocks_and_chunks_are_as_one(monkeypatch):
    """Several chunks of rows on eight devices, several blocks of columns, and padding of both."""
    x, y = sets(n=300, m=411, d=3)
    monkeypatch.setattr(stream, "ROWS", 16)
    monkeypatch.setattr(stream, "COLUMNS", 192)
    np.testing.assert_array_equal(nearest(x, y, 2)[1], np.argsort(distances(x, y), 1)[:, :2])
    np.testing.assert_array_equal(nearest_others(y, 2)[1], np.argsort(others(y), 1)[:, :2])
    radii = np.full((300, 1), 0.9), np.full((411, 1), 0.4)
    for mine, full in zip(cross_balls(x, y, *radii), in_balls(x, y, *radii), strict=True):
        assert full.sum() > 500
        np.testing.assert_array_equal(mine, full)


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize(("n", "k", "columns"), [(150, 5, 64), (150, 1, 64), (70, 30, 64), (9, 8, 64), (700, 2, 512)])
def test_pairs_of_one_set_that_are_made_once_are_seen_from_both_sides(n, k, columns, devices, monkeypatch):
    """Chunks that begin within a block, copies on both sides of their ends, and more neighbours than a chunk has."""
    x = np.random.default_rng(n).normal(size=(n, 4))
    x[n // 2 :: 7] = x[: len(x[n // 2 :: 7])]
    some = jax.local_devices()[:devices]
    monkeypatch.setattr("jax.local_devices", lambda: some)
    monkeypatch.setattr(neighbours, "WIDE", 4)
    monkeypatch.setattr(stream, "ROWS", columns // 8)
    monkeypatch.setattr(stream, "COLUMNS", columns)
    found, index = nearest_others(x, k)
    np.testing.assert_allclose(found, np.sort(others(x), 1)[:, :k], rtol=1e-13)
    np.testing.assert_allclose(np.take_along_axis(others(x), index, 1), found, rtol=1e-13)
    assert all(len({*row, i}) == k + 1 for i, row in enumerate(index.tolist()))


def test_a_chunk_is_shown_no_block_before_it(monkeypatch):
    """Half the products: of 20 blocks of 64 columns the chunk that begins in the b-th is shown 20 - b."""
    one = jax.local_devices()[:1]
    monkeypatch.setattr("jax.local_devices", lambda: one)
    monkeypatch.setattr(stream, "ROWS", 32)
    monkeypatch.setattr(stream, "COLUMNS", 64)
    x = np.random.default_rng(0).normal(size=(1280, 3))

    def fold(carry, block, begin, end):
        return carry + 1, jnp.ones(len(block.columns), jnp.int32)

    shown = stream.sweep_half(fold, lambda rows: jnp.zeros(rows, jnp.int32), frame_of(x), x)
    for some, blocks, seen in shown:
        first = some.start // 64
        assert np.all(blocks == 20 - first)
        np.testing.assert_array_equal(seen[0], np.arange(1280) >= 64 * first)


def test_one_device_finds_what_eight_find(monkeypatch):
    x, y = sets()
    radii = others(x)[:, :2], others(y)[:, :2]
    eight = (*nearest(x, y, 3), *cross_balls(x, y, *radii))
    assert len(jax.local_devices()) == 8
    one = jax.local_devices()[:1]
    monkeypatch.setattr("jax.local_devices", lambda: one)
    for a, b in zip(eight, (*nearest(x, y, 3), *cross_balls(x, y, *radii)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_row_is_left_out_by_its_number_and_its_copies_are_not():
    x = np.asarray([[0.0, 0], [0, 0], [3, 4], [0, 0]])
    found, index = nearest_others(x, 3)
    np.testing.assert_array_equal(found, [[0, 0, 5], [0, 0, 5], [5, 5, 5], [0, 0, 5]])
    assert all(row not in index[row] for row in range(4))
    assert all(len(set(row)) == 3 for row in index)


def test_all_columns_may_be_asked_for():
    x, y = sets(n=5, m=7)
    np.testing.assert_array_equal(nearest(x, y, 7)[1], np.argsort(distances(x, y), 1))
    np.testing.assert_array_equal(nearest_others(y, 6)[1], np.argsort(others(y), 1)[:, :6])


def test_near_copies_keep_their_distances_where_float32_sees_none():
    """Offsets of 1e-9 of the features, far from the origin: norms in float32 are wrong by a thousand times more."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 8)) + 50.0
    x = y[:30] + 1e-7 * rng.normal(size=(30, 8))
    found, index = nearest(x, y, 1)
    np.testing.assert_array_equal(index[:, 0], np.arange(30))
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(x - y[:30], axis=1), rtol=1e-13)


def test_a_collapsed_set_has_the_neighbours_of_the_full_matrix():
    """Hundreds of columns that float32 cannot tell apart: more than are kept as candidates."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 4))[rng.integers(5, size=300)] + 1e-8 * rng.normal(size=(300, 4))
    np.testing.assert_allclose(nearest_others(x, 3)[0], np.sort(others(x), 1)[:, :3], rtol=1e-6)


@pytest.mark.parametrize("closed", [True, False])
def test_balls_are_counted_as_in_the_full_matrix(closed):
    x, y = sets()
    # radii that are the distances of pairs: these lie on the surface, and float32 cannot tell
    radii_x, radii_y = nearest(x, y, 60)[0][:, [5, 59]], nearest(y, x, 12)[0][:, [2, 11]]
    mine, full = cross_balls(x, y, radii_x, radii_y, closed=closed), in_balls(x, y, radii_x, radii_y, closed)
    for a, b in zip(mine, full, strict=True):
        assert b.sum() > 300
        np.testing.assert_array_equal(a, b)


def test_points_on_the_surface_are_inside_only_where_balls_are_closed():
    x, y, r = np.zeros((1, 2)), np.asarray([[3.0, 4.0], [0.0, 5.0], [0.1, 5.0]]), np.full((1, 1), 5.0)
    none = np.full((3, 1), -1.0)
    assert cross_balls(x, y, r, none)[0].item() == 2
    assert cross_balls(x, y, r, none, closed=False)[0].item() == 0
    assert not cross_balls(x, y, r, none)[2].any()


def test_outliers_and_extremes_stay_exact():
    x, y = sets(n=20, m=60, d=3)
    y[7] = 1e12
    np.testing.assert_allclose(nearest(x, y, 3)[0], np.sort(distances(x, y), 1)[:, :3], rtol=1e-12)
    for scale in (1e-150, 1e140):
        np.testing.assert_allclose(nearest(scale * x, scale * y[:7], 1)[0] / scale, distances(x, y[:7]).min(1)[:, None])
    np.testing.assert_array_equal(nearest(x * 0, y * 0, 2)[0], 0.0)


def test_what_cannot_be_measured_is_refused():
    x, y = sets(n=4, m=4)
    for bad in (np.where(x > 0, np.nan, x), np.where(x > 0, np.inf, x), 1e200 * x, x[:0], x[:, :0]):
        with pytest.raises(ValueError, match="features"):
            nearest(bad, y[:, : bad.shape[1]], 1)
    with pytest.raises(ValueError, match="5 rows of them"):
        nearest(x, y, 5)
    with pytest.raises(ValueError, match="5 rows of them"):
        nearest_others(y, 4)
    with pytest.raises(ValueError, match="one to four radii"):
        cross_balls(x, y, np.zeros((4, 5)), np.zeros((4, 5)))


def test_a_frame_centres_and_its_unit_is_exact():
    x, y = sets()
    frame = frame_of(x, 1000 * y)
    np.testing.assert_allclose(frame.within(x).mean(0), 0.0, atol=1e-7)
    assert np.abs(frame.within(1000 * y)).max() <= 1.0
    assert np.log2(frame.unit) % 1 == 0
    rows, columns = np.asarray([0, 3]), np.asarray([5, 0])
    square = pair_squares(Frame(frame.centre, 1.0), x, y, rows, columns[:, None])[:, 0]
    np.testing.assert_allclose(square, distances(x, y)[rows, columns] ** 2, rtol=1e-14)


def test_a_score_of_a_column_may_be_infinite_everywhere():
    x, y = sets(n=3, m=70)
    score, _, _ = least(lambda xp, square, value: xp.where(square < value, 1.0, xp.inf), x, y, np.zeros(70), 2)
    assert np.isinf(score).all()
