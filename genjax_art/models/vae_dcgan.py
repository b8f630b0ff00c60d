"""Encoder, generator and discriminator of a VAE-GAN: those of `conv_vae.py` and `dcgan.py`, for any extents.

After Larsen et al. 2016 (arXiv:1512.09300).
"""

import flax.linen as nn

from genjax_art.models import dcgan
from genjax_art.models.conv_vae import Encoder
from genjax_art.models.dcgan import DiscriminatorNorm
from genjax_art.models.norms import GeneratorNorm
from genjax_art.spec import ArraySpec


def build(
    spec: ArraySpec,
    *,
    latents: int = 64,
    width: int = 32,
    kernel: int = 4,
    hidden: int = 256,
    generator_norm: GeneratorNorm = "batch",
    discriminator_norm: DiscriminatorNorm = "none",
    conditional: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a VAE-GAN for any extents; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: filters of all networks' convolutions at the finest resolution; twice as many after each halving.
      kernel: side of the convolutions' kernels, in pixels (positions) along each axis.
      hidden: units of the encoder's dense layer between the convolutions and z.
      generator_norm: normalisation in the generator: none, batch, or conditional_batch; see `dcgan.py`.
      discriminator_norm: normalisation in the discriminator: none, batch, or spectral; see `dcgan.py`.
      conditional: all networks get the class label: the encoder and the generator as a further input (the generator by
        its norm, if that is conditional), the discriminator by projection (arXiv:1802.05637).
      remat: compute each level of a network of the GAN again for the gradient: less memory, more time.
    """
    networks = dcgan.build(
        spec,
        latents=latents,
        width=width,
        growth=2,
        kernel=kernel,
        generator_norm=generator_norm,
        discriminator_norm=discriminator_norm,
        conditional=conditional,
        remat=remat,
    )
    return {"encoder": Encoder(latents, width, kernel, hidden, len(spec.classes) if conditional else 0), **networks}
