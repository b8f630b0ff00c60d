"""VAE-GAN on icons in twelve styles, 32x32x1, conditional on the style: an autoencoder that draws in lines, not in fog.

Sources: Larsen et al. 2016 (arXiv:1512.09300); conditional batch norm, de Vries et al. 2017 (arXiv:1707.00683);
projection, Miyato & Koyama 2018 (arXiv:1802.05637); relativistic pairing with R1 and R2, Huang et al. 2024
(arXiv:2501.05441). Under a likelihood of pixels icons stay out of focus and lose their style: conv-vae
--data.name icons --model.conditional.
Cost: about ten minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Needs the fonts of the extra art: pip install -e ".[art]".
python train.py icons-vae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="icons-vae",
    data=Component("icons"),
    model=Component("vae_dcgan", {"generator_norm": "conditional_batch", "conditional": True}),
    objective=Component("vae_gan", {"beta": 0.1, "loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers={"discriminator": Optimizer(1.5e-3), "generator": Optimizer(1.5e-3)},
    run=RunOptions(batch_size=64, steps=3_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
