"""Pictures changed a little, so that they are still the same picture in the same style."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.spec import Key

ZOOM = 0.75  # the least side of the part that is shown, of the picture's
LIGHT, CONTRAST = 0.2, 0.2  # how far brightness is moved and contrast multiplied, either way


def alike(x: Float[Array, "b h w c"], key: Key) -> Float[Array, "b h w c"]:
    """A random part of each picture, at least 3/4 of its sides, enlarged to its size, with other brightness and
    contrast. It is not turned or mirrored, its colours stay apart and its strokes what they are: all that is style.
    """
    b, h, w, _ = x.shape
    zoom, place, light, contrast = jax.random.split(key, 4)
    side = jax.random.uniform(zoom, (b,), minval=ZOOM)
    at = jax.random.uniform(place, (b, 2)) * (1 - side)[:, None]  # where the part begins, of the sides
    size = jnp.asarray([h, w], jnp.float32)

    def part(one: Float[Array, "h w c"], side: Float[Array, ""], at: Float[Array, " 2"]) -> Float[Array, "h w c"]:
        scale = jnp.broadcast_to(1 / side, (2,))
        return jax.image.scale_and_translate(
            one, one.shape, (0, 1), scale, -at * size / side, "linear", antialias=False
        )

    shown = jax.vmap(part)(x, side, at)
    level = jnp.mean(shown, (1, 2, 3), keepdims=True)
    factor = jax.random.uniform(contrast, (b, 1, 1, 1), minval=1 - CONTRAST, maxval=1 + CONTRAST)
    moved = jax.random.uniform(light, (b, 1, 1, 1), minval=-LIGHT, maxval=LIGHT)
    return (shown - level) * factor + level + moved
