"""DCGAN on pictures with style labels, 32x32x3, conditional on the style.

Not good yet: after 1,500 steps the styles cannot be told apart (2026-11-24).
Any labelled folder will do: --data.name image_folder --data.folder DIR.
python train.py dcgan-art
"""

from genjax_art.config import Component, Data, Experiment, Optimizer

EXPERIMENT = Experiment(
    name="dcgan-art",
    data=Data("procedural_art", size=(32, 32), channels=3),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch", "conditional": True}),
    objective=Component("gan"),
    optimizers={"discriminator": Optimizer(3e-4), "generator": Optimizer(3e-4)},
    batch_size=64,
    steps=3000,
    ema_half_life={"generator": 10_000.0},
    sample_every=1000,
    save_every=2000,
)
