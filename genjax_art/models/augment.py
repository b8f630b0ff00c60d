"""Differentiable augmentation of what the discriminator is given, and its adaptive probability.

Reals and fakes are both shown to the discriminator through random distortions, which the generator's gradient
passes: the discriminator cannot memorise a small data set then, and the generator does not learn the distortions.
DiffAugment: Zhao et al. 2020 (arXiv:2006.10738).  Adaptive probability: Karras et al. 2020, ADA
(arXiv:2006.06676).

Every augmentation maps (b, *space, channels) to the same shape for any number of spatial axes, and draws for
every example of the global batch on its own.  Augment reals and fakes before they are stacked into one batch:
the order of a stacked batch depends on the number of devices, and the draws would with it.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.shards import global_draw
from genjax_art.spec import Key

TRANSLATION = 1 / 8  # of each extent, either way; as in the DiffAugment paper
CUTOUT = 1 / 2  # of each extent; as there


def color(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Random brightness (+-0.5), saturation (factor 0 to 2) and contrast (factor 0.5 to 1.5), in this order.

    For colours in [-1, 1], three channels.  Zhao et al. 2020, with the authors' order and ranges
    (arXiv:2006.10738).
    """
    if x.shape[-1] != 3:
        raise ValueError(f"color augmentation of {x.shape[-1]} channels; it needs 3 (RGB): leave 'color' out")
    brightness, saturation, contrast = (u.astype(x.dtype).reshape(_along(x, 0)) for u in _uniform(x, key, 3))
    x = x + (brightness - 0.5)
    grey = jnp.mean(x, axis=-1, keepdims=True)
    x = (x - grey) * (2.0 * saturation) + grey
    level = jnp.mean(x, axis=tuple(range(1, x.ndim)), keepdims=True)
    return (x - level) * (contrast + 0.5) + level


def translation(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Shift by up to 1/8 of the extent along each spatial axis; what comes in is 0.

    Zhao et al. 2020 (arXiv:2006.10738).
    """
    space = _space(x, "translation")
    reach = [int(n * TRANSLATION + 0.5) for n in space]
    starts = _integers(x, key, [2 * r + 1 for r in reach])
    padded = jnp.pad(x, [(0, 0), *((r, r) for r in reach), (0, 0)])

    def window(example: Array, *start: Array) -> Array:
        return jax.lax.dynamic_slice(example, (*start, jnp.zeros_like(start[0])), x.shape[1:])

    return jax.vmap(window)(padded, *starts)


def cutout(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Set to 0 a box of half the extent along each spatial axis, centred anywhere in the example.

    Zhao et al. 2020 (arXiv:2006.10738).
    """
    space = _space(x, "cutout")
    sides = [int(n * CUTOUT + 0.5) for n in space]
    centres = _integers(x, key, [n + 1 - side % 2 for n, side in zip(space, sides, strict=True)])
    inside = jnp.ones((1,) * x.ndim, bool)
    for axis, (side, centre) in enumerate(zip(sides, centres, strict=True), start=1):
        place = jnp.arange(x.shape[axis])[None, :] - centre[:, None] + side // 2
        inside = inside & ((place >= 0) & (place < side)).reshape(_along(x, axis))
    return jnp.where(inside, 0.0, x)


def flip(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Half of the examples mirrored along the last spatial axis: left and right of pictures and clips.

    For pictures whose mirror images are pictures of the same kind: no digits, letters or piano rolls.
    """
    _space(x, "flip")
    mirrored = _uniform(x, key, 1)[0] < 0.5
    return jnp.where(mirrored.reshape(_along(x, 0)), jnp.flip(x, -2), x)


DIFFAUGMENT = ("color", "translation", "cutout")
AUGMENTATIONS: Mapping[str, Callable[[Float[Array, "b *space c"], Key], Float[Array, "b *space c"]]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
    "flip": flip,
}


def augment(
    x: Float[Array, "b *space c"],
    key: Key,
    probability: float | Float[Array, ""] = 1.0,
    names: Sequence[str] = DIFFAUGMENT,
) -> Float[Array, "b *space c"]:
    """The named augmentations one after the other, each on each example with the given probability.

    Probability 1 is DiffAugment (Zhao et al. 2020, arXiv:2006.10738).  The independent gates are those of
    Karras et al. 2020 (arXiv:2006.06676), on DiffAugment's operations, not that paper's 18.

    Raises:
      ValueError: an unknown name; colour without three channels; any other without space.
    """
    unknown = set(names) - set(AUGMENTATIONS)
    if unknown:
        raise ValueError(f"unknown augmentation {min(unknown)!r}; known: {', '.join(AUGMENTATIONS)}")
    gate_key, *keys = jax.random.split(key, 1 + len(AUGMENTATIONS))
    gates = _uniform(x, gate_key, len(AUGMENTATIONS))
    for (name, augmentation), draw_key, gate in zip(AUGMENTATIONS.items(), keys, gates, strict=True):
        if name in names:
            chosen = (gate < probability).reshape(_along(x, 0))
            x = jnp.where(chosen, augmentation(x, draw_key), x)
    return x


def adapt_probability(
    probability: Float[Array, ""],
    overfitting: Float[Array, ""],
    images: int,
    target: float = 0.6,
    ramp: int = 500_000,
) -> Float[Array, ""]:
    """The next augmentation probability, in [0, 1]: up where `overfitting` is above `target`, else down.

    `overfitting` is r_t, the global mean of sign D(x) over the reals of the last `images` images; it takes
    `ramp` images to go from 0 to 1.  Karras et al. 2020 (arXiv:2006.06676).
    """
    step = jnp.sign(overfitting - target) * (images / ramp)
    return jnp.clip(probability + step, 0.0, 1.0)


def _space(x: Float[Array, "b *space c"], what: str) -> tuple[int, ...]:
    space = x.shape[1:-1]
    if not space:
        raise ValueError(f"{what} augmentation of points, which have no spatial axis: leave {what!r} out")
    return space


def _along(x: Float[Array, "b *space c"], axis: int) -> tuple[int, ...]:
    """The shape that broadcasts per-example numbers (one for each place on `axis`) against x."""
    return tuple(n if i in (0, axis) else 1 for i, n in enumerate(x.shape))


def _uniform(x: Float[Array, "b *space c"], key: Key, count: int) -> Float[Array, "{count} b"]:
    """`count` numbers in [0, 1) for every example; one draw for all of them is faster."""
    return global_draw(jax.random.uniform, key, (x.shape[0], count)).T


def _integers(x: Float[Array, "b *space c"], key: Key, counts: Sequence[int]) -> list[Int[Array, "b"]]:
    """For every example one number of 0 ... count - 1 for each count."""
    uniform = _uniform(x, key, len(counts))
    return [jnp.floor(u * count).astype(int) for u, count in zip(uniform, counts, strict=True)]
