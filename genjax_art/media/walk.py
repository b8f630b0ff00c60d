"""A walk through latent space that ends where it began: the frames of a film."""

import numpy as np
from jaxtyping import Float


def slerp(
    a: Float[np.ndarray, "*n d"], b: Float[np.ndarray, "*n d"], t: Float[np.ndarray, "*n 1"]
) -> Float[np.ndarray, "*n d"]:
    """Spherical interpolation, a at t = 0 and b at t = 1.

    Gaussian latents lie near a sphere of radius sqrt(d); a straight line would cross its empty inside.
    White, "Sampling Generative Networks", 2016, arXiv:1609.04468 (after Shoemake 1985): the angle is taken
    between the directions, the lengths need not be equal.  Where the great circle is undefined or degenerate
    (parallel, opposite or zero latents), it is the straight line.
    """
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = np.sum(a * b, -1, keepdims=True) / np.maximum(lengths, 1e-12)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    flat = (np.sin(angle) < 1e-4) | (lengths < 1e-12)
    sine = np.where(flat, 1.0, np.sin(angle))
    weight_a = np.where(flat, 1.0 - t, np.sin((1.0 - t) * angle) / sine)
    weight_b = np.where(flat, t, np.sin(t * angle) / sine)
    return (weight_a * a + weight_b * b).astype(a.dtype)


def closed_walk(anchors: Float[np.ndarray, "k d"], frames: int) -> Float[np.ndarray, "frames d"]:
    """`frames` latents on the closed path anchor 0 -> 1 -> ... -> k - 1 -> 0, equal steps of the path's time.

    Frame 0 is anchor 0; the step from the last frame to frame 0 is as long as the others, so the film loops
    without a seam and without a doubled frame.
    """
    if frames < 1 or len(anchors) < 2:
        raise ValueError(f"a walk needs 2 anchors and 1 frame, got {len(anchors)} and {frames}")
    time = np.arange(frames, dtype=np.float64) * len(anchors) / frames
    leg = np.minimum(time.astype(np.int64), len(anchors) - 1)
    return slerp(anchors[leg], anchors[(leg + 1) % len(anchors)], (time - leg)[:, None])
