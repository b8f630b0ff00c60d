"""Self-supervised features: two random views of one example are to be told from those of others.

SimCLR (Chen et al. 2020, arXiv:2002.05709) with the small residual net of `network.py`. The medium says which changes
leave an example what it is (`Medium.alike`): these features overlook them, so style must not be among them.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax_art.data.batches import batch_at
from genjax_art.data.contract import Source
from genjax_art.features.extractor import Extractor
from genjax_art.features.kept import kept
from genjax_art.features.network import Headed, as_it_is, check_space, deep, flat, shifts, train, unit_range
from genjax_art.media.medium import find_medium
from genjax_art.spec import Key

VERSION = 2  # since then music is shown in other keys
BATCH, RATE = 128, 2e-3
HEAD = (64, 64)  # of the projection, which is thrown away
TEMPERATURE = 0.2
FAR = -1e9  # in place of the similarity of a view with itself


def build(known: Source, held: Source, *, steps: int = 600) -> Extractor:
    """Features by a net that was trained without labels.

    Args:
      steps: of its training, on two views of 128 examples each.

    Raises:
      UsageError: points.
    """
    spec = known.spec
    check_space(spec, "own-contrastive")
    network, alike = Headed(HEAD), find_medium(spec.kind).alike or shifts

    def shown(batch: Mapping[str, Array], key: Key) -> Mapping[str, Array]:
        x = unit_range(batch["x"], spec)
        return {"x": jnp.concatenate([alike(x, k) for k in jax.random.split(key)])}

    def make() -> Mapping[str, np.ndarray]:
        def batches(n: int) -> Mapping[str, np.ndarray]:
            return {"x": batch_at(known, n, batch_size=min(BATCH, len(known)), seed=0)["x"]}

        return flat(
            train(network, batches, shown, lambda out, _: contrast(out), name="own-contrastive", steps=steps, rate=RATE)
        )

    weights = kept("own-contrastive", [VERSION, steps], known, make)
    variables = deep(weights)

    def apply(x: Float[Array, "b *shape"]) -> Mapping[str, Float[Array, "b _"]]:
        return {"features": network.apply(variables, unit_range(x, spec), False)[0]}

    return Extractor("own-contrastive", VERSION, as_it_is(spec), apply, weights)


def contrast(out: Float[Array, "b2 d"], temperature: float = TEMPERATURE) -> Float[Array, ""]:
    """The mean cross-entropy, in nats, of finding each row's other view, half the rows away, among all other rows by
    their cosines over a temperature (NT-Xent, arXiv:2002.05709, equation 1): log(rows - 1) for rows without any order.
    """
    unit = out / jnp.sqrt(jnp.sum(out**2, -1, keepdims=True) + 1e-12)
    n = len(out)
    alike = jnp.where(jnp.eye(n, dtype=bool), FAR, unit @ unit.T / temperature)
    other = jnp.roll(jnp.arange(n), n // 2)
    return jnp.mean(jax.nn.logsumexp(alike, -1) - alike[jnp.arange(n), other])
