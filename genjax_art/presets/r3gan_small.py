"""R3GAN with about 2.7 M parameters a network, 32x32x3: relativistic pairing, R1 and R2, no normalisation.

Source: Huang et al. 2024 (arXiv:2501.05441), with half the channels at each finer resolution, as the paper's networks
for larger pictures have them, and constant hyper-parameters (gamma 0.1, so a weight of 0.05; b1 = 0).
Cost: for an accelerator (hours on two CPU cores); not run to the end yet.
python train.py r3gan-small
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-4, Component("adam", {"b1": 0.0, "b2": 0.99}))

EXPERIMENT = Experiment(
    name="r3gan-small",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component("r3gan", {"widths": (416, 256, 128, 64), "blocks": 2}),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 0.05, "r2": 0.05}}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=32, steps=20_000, sample_every=500, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
