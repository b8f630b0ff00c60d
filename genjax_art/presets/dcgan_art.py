"""DCGAN on pictures with style labels, 32x32x3, conditional on the style.

Source: Radford et al. 2015 (arXiv:1511.06434). Longer is worse: after half as many steps again styles collapse.
Cost: about half an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
Any labelled folder will do: --data.name image_folder --data.folder DIR.
python train.py dcgan-art
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="dcgan-art",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch", "conditional": True}),
    objective=Component("gan"),
    optimizers={"discriminator": Optimizer(2e-4), "generator": Optimizer(2e-4)},
    run=RunOptions(batch_size=64, steps=16_000, sample_every=2000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
