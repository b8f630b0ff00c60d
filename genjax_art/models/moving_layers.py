"""Films of layers: pictures that move through a frame as they are, and whose light adds up on a dark ground.

Layers of a film are those of Jojic & Frey 2001 ("Learning flexible sprites in video layers"), put in their places as by
Jaderberg et al. 2015 (arXiv:1506.02025), without turns and scales.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.models.layers import check_clips, wide
from genjax_art.spec import ArraySpec

Side = tuple[int, int]


def overlaps(at: Float[Array, "*b"], extent: int, side: int, fine: int = 1) -> Float[Array, "*b extent side"]:
    """Matrices that put a row of `side` pixels into one of `extent`, `fine` of them in the room of one: each is shared
    by the pixels that it lies on. From the first pixel on at -1, up to the last one at 1, cut off beyond."""
    first = ((wide(at) + 1.0) * ((extent - side / fine) / 2))[..., None, None]
    around = (1,) * at.ndim
    begin = first + (jnp.arange(side, dtype=first.dtype) / fine).reshape(*around, 1, side)
    pixel = jnp.arange(extent, dtype=first.dtype).reshape(*around, extent, 1)
    return jnp.maximum(jnp.minimum(pixel + 1.0, begin + 1.0 / fine) - jnp.maximum(pixel, begin), 0.0)


def darkness(
    light: Float[Array, "b s k p q c"], place: Float[Array, "b t k 2"], space: Side, most: float, fine: int = 1
) -> Float[Array, "b t h w c"]:
    """log prod_k (1 - most * p_k): of the share of each pixel's light that no layer has, nats.

    Args:
      light: the layers' pictures, 0 to 1, of the clip (s: 1) or others for each frame (s: t).
      place: how far down and right each is, from -1 to 1 within the frame.
      space: height and width of the frame.
      most: of its light that a layer can have, below 1 where it is to be finite.
      fine: pixels of a picture, along an axis, in the room of one of the frame.
    """
    extents = zip(space, light.shape[3:5], strict=True)
    down, right = (overlaps(place[..., axis], *of, fine).astype(light.dtype) for axis, of in enumerate(extents))
    if light.shape[1] == 1:
        shown = jnp.einsum("btkyp,bkpqc,btkxq->btkyxc", down, light[:, 0], right)
    else:
        shown = jnp.einsum("btkyp,btkpqc,btkxq->btkyxc", down, light, right)
    return jnp.sum(jnp.log1p(-most * wide(shown)), 2)


def side_of(spec: ArraySpec, share: float, model: str, **counts: int) -> Side:
    """Height and width of a layer's picture that has this share of those of a frame.

    Raises:
      UsageError: the data are no clips, a share that is none, or one of `counts` is below 1.
    """
    check_clips(spec, model)
    if not 0 < share <= 1:
        raise UsageError(f"model {model}: share must be over 0 and at most 1, got {share:g}")
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"model {model}: {name} must be at least 1, got {count}")
    height, width = (max(1, round(share * extent)) for extent in spec.shape[1:3])
    return height, width
