"""VAE-GAN on digits, 28x28x1: an autoencoder with the edges of a GAN, which reads, varies and blends pictures of yours.

Sources: Larsen et al. 2016 (arXiv:1512.09300), with a tenth of their KL; R1, Mescheder et al. 2018 (arXiv:1801.04406).
Cost: some minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Labelled ones: --model.conditional. Your own: --data.name image_folder --data.folder DIR.
python train.py vae-gan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="vae-gan",
    model=Component("vae_dcgan", {"latents": 32}),
    objective=Component("vae_gan", {"beta": 0.1, "penalties": {"r1": 0.05}}),
    optimizers={"discriminator": Optimizer(8e-4), "generator": Optimizer(8e-4)},
    run=RunOptions(batch_size=64, steps=2_000, sample_every=500, save_every=1000),
    ema_half_life={"generator": 5_000.0},
)
