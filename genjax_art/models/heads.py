"""Networks around networks: one more head on a discriminator, codes among a generator's latents."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import Dense, one_hot
from genjax_art.spec import Label


class WithHead(nn.Module):
    """Any discriminator, with `size` numbers under the name `head` beside its outputs, linear in its features.

    It gets no labels, so that the head predicts them from the picture alone.
    """

    network: nn.Module
    head: str
    size: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        del label
        out: Any = self.network(x, None, train)
        return {**out, self.head: Dense(self.size, name=self.head)(out["features"])}


class AroundGenerator(nn.Module):
    """What holds a generator, with the latents and classes that it has."""

    network: nn.Module

    @property
    def latents(self) -> int:
        return self.network.latents

    @property
    def classes(self) -> int:
        return self.network.classes


class WithCodes(AroundGenerator):
    """Any unconditional generator, with the first latents as codes: see `codes_of`."""

    categories: int
    continuous: int

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        category, numbers = codes_of(z, self.categories, self.continuous)
        noise = z[:, self.categories + self.continuous :]
        codes = one_hot(category, self.categories, z.dtype)
        x: Any = self.network(jnp.concatenate([codes, numbers, noise], -1), label, train)
        return x


def codes_of(
    z: Float[Array, "b z"], categories: int, continuous: int
) -> tuple[Int[Array, " b"], Float[Array, "b {continuous}"]]:
    """The codes in standard normal latents: which of the first `categories` is largest, and the `continuous` next ones.

    So the category is uniform, the numbers are standard normal, and sampling needs to know nothing of codes.
    """
    category = jnp.argmax(z[:, :categories], -1) if categories else jnp.zeros(len(z), int)
    return jax.lax.stop_gradient(category), z[:, categories : categories + continuous]
