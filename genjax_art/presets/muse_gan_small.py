"""MuseGAN on two bars of Bach's chorales, narrowed for two CPU cores.

Not as `muse-gan`, whose Wasserstein game collapsed to one held chord here: relativistic pairing with R1 and R2
(arXiv:2501.05441), one update of the critic a step, learning rates to zero.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
python train.py muse-gan-small
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam, _cosine = Component("adam", {"b1": 0.0, "b2": 0.99}), Component("cosine")

EXPERIMENT = Experiment(
    name="muse-gan-small",
    data=Component("chorales"),
    model=Component("muse_gan", {"latents": 128, "width": 24, "critic_width": 24}),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 1.0, "r2": 1.0}}),
    optimizers={"discriminator": Optimizer(5e-4, _adam, _cosine), "generator": Optimizer(1e-3, _adam, _cosine)},
    run=RunOptions(batch_size=64, steps=4500, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
