"""The original GAN: generator and discriminator of three fully connected layers, the minimax game.

Source: Goodfellow et al. 2014 (arXiv:1406.2661), as in the GAN case study.
Cost: under a minute on two CPU cores; only its speed is measured, see genjax_art/benchmark/README.md.
python train.py mlp-gan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="mlp-gan",
    model=Component("mlp", {"latents": 100, "width": 256}),
    objective=Component("gan", {"loss": "minimax"}),
    optimizers={"discriminator": Optimizer(2e-4), "generator": Optimizer(2e-4)},
    run=RunOptions(batch_size=128, steps=6000, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
