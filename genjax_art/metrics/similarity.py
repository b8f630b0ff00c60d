"""How near one picture is to another, pixel by pixel and window by window: PSNR and SSIM."""

import numpy as np
from jaxtyping import Float, Float64

WINDOW, SIGMA = 11, 1.5  # pixels: the window of Wang et al.
K1, K2 = 0.01, 0.03
MOST_DB = 100.0  # of pictures that are equal, whose ratio is infinite


def psnr(x: Float[np.ndarray, "*n h w c"], y: Float[np.ndarray, "*n h w c"], span: float) -> Float64[np.ndarray, "*n"]:
    """Peak signal-to-noise ratio of each picture, 10 log10(span^2 / mean squared error), in dB, at most 100.

    Args:
      span: greatest minus least value that a pixel can have.
    """
    error = np.mean((x.astype(np.float64) - y) ** 2, (-3, -2, -1))
    return -10.0 * np.log10(np.maximum(error / span**2, 10.0 ** (-MOST_DB / 10)))


def ssim(x: Float[np.ndarray, "*n h w c"], y: Float[np.ndarray, "*n h w c"], span: float) -> Float64[np.ndarray, "*n"]:
    """Structural similarity of each picture, at most 1 (Wang et al. 2004, "Image quality assessment: from error
    visibility to structural similarity", equation 13 with its constants).

    Means, variances and covariance are weighted by a Gaussian of 11x11 pixels, sigma 1.5, which lies wholly in the
    picture; the mean is over all its places, and over channels.

    Args:
      span: greatest minus least value that a pixel can have.

    Raises:
      ValueError: a side below 11 pixels.
    """
    if min(x.shape[-3:-1]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of {WINDOW} pixels at least, got {x.shape[-3]}x{x.shape[-2]}")
    a, b = (np.moveaxis(one.astype(np.float64), -1, -3) for one in (x, y))
    mean_a, mean_b = _blurred(a), _blurred(b)
    variances = _blurred(a * a) - mean_a**2 + _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    level = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    found: Float64[np.ndarray, "*n"] = np.mean(level * (2 * covariance + c2) / (variances + c2), (-3, -2, -1))
    return found


def _blurred(x: Float64[np.ndarray, "*n h w"]) -> Float64[np.ndarray, "*n h2 w2"]:
    """Means under the Gaussian window at each of its places in the picture: one product for each axis."""
    rows, columns = (_windows(n) for n in x.shape[-2:])
    return rows @ x @ columns.T


def _windows(n: int) -> Float64[np.ndarray, "m n"]:
    """The window's weights along one axis, a row for each of its places."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    found = np.zeros((n - WINDOW + 1, n))
    for place, row in enumerate(found):
        row[place : place + WINDOW] = weights / weights.sum()
    return found


def clip_psnr(
    x: Float[np.ndarray, "n t h w c"], y: Float[np.ndarray, "n t h w c"], span: float
) -> Float64[np.ndarray, " n"]:
    """`psnr` of each clip as one tall picture."""
    tall = (x.shape[0], -1, *x.shape[3:])
    return psnr(x.reshape(tall), y.reshape(tall), span)


def clip_ssim(
    x: Float[np.ndarray, "n t h w c"], y: Float[np.ndarray, "n t h w c"], span: float
) -> Float64[np.ndarray, " n"]:
    """The mean `ssim` of each clip's frames, clip by clip, as it needs ten times their memory."""
    return np.asarray([ssim(a, b, span).mean() for a, b in zip(x, y, strict=True)])
