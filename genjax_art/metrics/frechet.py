"""Frechet distance between two sets of feature vectors: how far apart the Gaussians with their moments are."""

import numpy as np
from jaxtyping import Float, Float64


def frechet_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """`gaussian_frechet` of the means and covariances (1/n, the likeliest ones) of two sets, in squared units of x.

    It sees means and covariances only, and is biased upwards by about d/n: compare distances of sets of the same sizes.

    Raises:
      ValueError: an empty set, or numbers that are not finite.
    """
    moments = []
    for rows in (np.asarray(x, np.float64), np.asarray(y, np.float64)):
        if not len(rows) or not np.isfinite(rows).all():
            raise ValueError(f"a Frechet distance needs finite features of one example or more, got shape {rows.shape}")
        mean = rows.mean(0)
        moments += [mean, (rows - mean).T @ (rows - mean) / len(rows)]
    return gaussian_frechet(*moments)


def gaussian_frechet(
    mean_x: Float64[np.ndarray, " d"],
    covariance_x: Float64[np.ndarray, "d d"],
    mean_y: Float64[np.ndarray, " d"],
    covariance_y: Float64[np.ndarray, "d d"],
) -> float:
    """|mean_x - mean_y|^2 + tr(A + B - 2 (A B)^(1/2)) of two Gaussians with covariances A and B.

    This is the square of their Wasserstein-2 distance (Dowson & Landau 1982), as in the FID (Heusel et al. 2017,
    arXiv:1706.08500). The trace of (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2): that needs roots
    of symmetric matrices only, and holds where A or B is singular, as it is with fewer examples than features.
    """
    cross = np.linalg.svd(_root(covariance_x) @ _root(covariance_y), compute_uv=False).sum()
    spread = np.trace(covariance_x) + np.trace(covariance_y) - 2.0 * cross
    return float(np.sum((mean_x - mean_y) ** 2) + max(spread, 0.0))  # rounding may take it below 0


def _root(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d d"]:
    """The symmetric root of a symmetric matrix without negative eigenvalues, but for rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
