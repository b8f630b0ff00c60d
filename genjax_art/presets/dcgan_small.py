"""DCGAN of the GAN case study at a width that two CPU cores train to recognisable digits in three minutes.

python train.py dcgan-small
"""

from genjax_art.config import Component, Experiment, Optimizer

EXPERIMENT = Experiment(
    name="dcgan-small",
    model=Component("dcgan", {"width": 32, "generator_norm": "batch"}),
    objective=Component("gan"),
    optimizers={"discriminator": Optimizer(2e-4), "generator": Optimizer(2e-4)},
    batch_size=64,
    steps=4000,
    ema_half_life={"generator": 10_000.0},
)
