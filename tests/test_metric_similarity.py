"""PSNR and SSIM beside their definitions, written out slowly."""

import numpy as np
import pytest

from genjax_art.metrics.similarity import clip_psnr, clip_ssim, psnr, ssim


def pictures(seed, shape=(2, 3, 15, 13, 3)):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype(np.float32)


def slow_ssim(x, y, span):
    """Of one channel: Wang et al. 2004, equations 14 to 16 and 13, window by window."""
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = (one[i : i + 11, j : j + 11].astype(np.float64) for one in (x, y))
            mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
            var_a, var_b = np.sum(weights * (a - mean_a) ** 2), np.sum(weights * (b - mean_b) ** 2)
            covariance = np.sum(weights * (a - mean_a) * (b - mean_b))
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            found.append(
                (2 * mean_a * mean_b + c1)
                * (2 * covariance + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(found)


def test_ssim_is_its_definition():
    x = pictures(0)
    y = np.clip(x + 0.3 * pictures(1), -1, 1)
    found = ssim(x, y, 2.0)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            expected = np.mean([slow_ssim(x[i, j, ..., c], y[i, j, ..., c], 2.0) for c in range(3)])
            assert found[i, j] == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(ssim(x, x, 2.0), 1.0, atol=1e-12)
    np.testing.assert_allclose(found, ssim(y, x, 2.0))
    np.testing.assert_allclose(clip_ssim(x, y, 2.0), found.mean(1))


def test_ssim_of_flat_pictures_is_that_of_their_levels():
    x, y = np.full((1, 11, 11, 1), 0.2), np.full((1, 11, 11, 1), 0.7)
    c1 = 0.01**2
    assert ssim(x, y, 1.0)[0] == pytest.approx((2 * 0.2 * 0.7 + c1) / (0.2**2 + 0.7**2 + c1))
    # its constants go with the span
    assert ssim(2 * x, 2 * y, 2.0)[0] == pytest.approx(ssim(x, y, 1.0)[0])
    with pytest.raises(ValueError, match="11 pixels at least, got 10x12"):
        ssim(np.zeros((1, 10, 12, 1)), np.zeros((1, 10, 12, 1)), 1.0)


def test_psnr_is_of_the_mean_squared_error():
    x = pictures(2)
    np.testing.assert_allclose(psnr(x, x + np.float32(0.02), 2.0), 40.0, atol=1e-4)  # 20 log10(2 / 0.02)
    np.testing.assert_allclose(psnr(x, x, 2.0), 100.0)
    checker = np.indices((4, 4)).sum(0)[None, ..., None] % 2
    assert psnr(checker.astype(np.float32), np.zeros((1, 4, 4, 1)), 1.0)[0] == pytest.approx(10 * np.log10(2))


def test_psnr_of_a_clip_is_not_that_of_its_best_frame():
    x = pictures(3)
    y = x.copy()
    y[:, 1:] += np.float32(0.02)
    np.testing.assert_allclose(clip_psnr(x, y, 2.0), 40 + 10 * np.log10(3 / 2), atol=1e-3)  # two frames of three
