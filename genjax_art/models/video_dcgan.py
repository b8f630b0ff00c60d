"""VGAN: a clip from one vector by transposed convolutions over time and space, a moving thing before a still picture.

Vondrick, Pirsiavash & Torralba 2016, "Generating Videos with Scene Dynamics" (arXiv:1609.02612): of a foreground f, a
mask m and a background b that does not move, the clip is m f + (1 - m) b. The streams and the discriminator are those
of `dcgan.py`, with three axes and, for the background, with two.
"""

from dataclasses import replace

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.models import dcgan
from genjax_art.models.dcgan import DiscriminatorNorm
from genjax_art.models.layers import into_range, wide
from genjax_art.models.norms import GeneratorNorm
from genjax_art.spec import ArraySpec, Label


class Generator(nn.Module):
    """A foreground before a background, both from the same latents."""

    spec: ArraySpec
    foreground: dcgan.Generator  # of one channel more, which is the mask before the logistic function; unbounded
    background: dcgan.Generator  # of one frame

    @property
    def latents(self) -> int:
        return self.foreground.latents

    @property
    def classes(self) -> int:
        return self.foreground.classes

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b t h w c"]:
        moving, still = self.foreground(z, label, train), self.background(z, label, train)
        mask = jax.nn.sigmoid(wide(moving[..., -1:]))
        return mask * into_range(moving[..., :-1], self.spec) + (1 - mask) * still[:, None]


def build(
    spec: ArraySpec,
    *,
    latents: int = 100,
    width: int = 32,
    growth: int = 2,
    kernel: int = 4,
    generator_norm: GeneratorNorm = "batch",
    discriminator_norm: DiscriminatorNorm = "none",
    still: bool = True,
    conditional: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN of clips with one judge, of whole clips; z [b, latents].

    Args:
      spec: of clips (frames, height, width, channels).
      latents: how many numbers z has.
      width: filters of all networks' convolutions at the finest resolution.
      growth: factor by which the number of filters grows at each halving of the resolution.
      kernel: side of the convolutions' kernels, in pixels and in frames.
      generator_norm: none; batch; conditional_batch, the same with gain and bias of each class (arXiv:1707.00683).
      discriminator_norm: none; batch, which excludes gradient penalties; spectral (arXiv:1802.05957).
      still: a foreground by a mask before a background that does not move; without it, one stream makes all.
      conditional: both networks get the class label: the generator beside z (or by its norm), the discriminator by
        projection (arXiv:1802.05637).
      remat: compute each level of a network again for the gradient instead of keeping it: less memory, more time.

    Raises:
      UsageError: the data are no clips.
    """
    if len(spec.shape) != 4:
        raise UsageError(f"video_dcgan makes clips (frames, height, width, channels), not {spec.shape}: choose dcgan")
    classes = len(spec.classes) if conditional else 0

    def stream(spec: ArraySpec) -> dcgan.Generator:
        return dcgan.Generator(spec, latents, width, growth, kernel, generator_norm, classes, remat)

    generator: nn.Module = stream(spec)
    if still:
        masked = replace(spec, shape=(*spec.space, spec.channels + 1), bounded=False)
        generator = Generator(spec, stream(masked), stream(replace(spec, shape=spec.shape[1:])))
    discriminator = dcgan.Discriminator(width, growth, kernel, discriminator_norm, 0, classes, 0, remat)
    return {"generator": generator, "discriminator": discriminator}
