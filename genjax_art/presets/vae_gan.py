"""VAE-GAN on digits, 28x28x1, conditional: an autoencoder with the edges of a GAN, which reads, varies and restyles.

Sources: Larsen et al. 2016 (arXiv:1512.09300), with half of their KL: less of it makes better reconstructions and worse
samples; conditional batch norm, de Vries et al. 2017 (arXiv:1707.00683); projection, Miyato & Koyama 2018
(arXiv:1802.05637); relativistic pairing with R1 and R2, Huang et al. 2024 (arXiv:2501.05441).
Cost: some minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Without labels: --model.no-conditional --model.generator-norm batch.
python train.py vae-gan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="vae-gan",
    model=Component("vae_dcgan", {"generator_norm": "conditional_batch", "conditional": True, "latents": 32}),
    objective=Component("vae_gan", {"beta": 0.5, "loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers={"discriminator": Optimizer(1.5e-3), "generator": Optimizer(1.5e-3)},
    run=RunOptions(batch_size=64, steps=2_000, sample_every=500, save_every=1000),
    ema_half_life={"generator": 5_000.0},
)
