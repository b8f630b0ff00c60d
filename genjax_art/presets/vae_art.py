"""VAE-GAN on pictures with style labels, 32x32x3, conditional on the style: it draws, and reads your pictures.

Sources: as `icons-vae`: Larsen et al. 2016 (arXiv:1512.09300), conditional batch norm (arXiv:1707.00683), projection
(arXiv:1802.05637), relativistic pairing with R1 and R2 (arXiv:2501.05441). Under a likelihood of pixels the styles are
lost in soft clouds: conv-vae --model.conditional.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
Any labelled folder will do: --data.name image_folder --data.folder DIR.
python train.py vae-art
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="vae-art",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component("vae_dcgan", {"generator_norm": "conditional_batch", "conditional": True}),
    objective=Component("vae_gan", {"beta": 0.1, "loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers={"discriminator": Optimizer(1.5e-3), "generator": Optimizer(1.5e-3)},
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
