"""DCGAN of the GAN case study at a width that two CPU cores train to recognisable digits in minutes; the default.

Source: as `dcgan`, with 32 filters of 4x4 instead of 128 of 5x5 (a third of the time at the same look), batch
statistics in the generator, Adam 5e-4 with b1 = 0.5, and the digit's label shown to both (the study's is unconditional:
--model.no-conditional).
Cost: a minute or two on two CPU cores. Results: genjax_art/benchmark/README.md.
python train.py dcgan-small
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="dcgan-small",
    model=Component("dcgan", {"width": 32, "kernel": 4, "generator_norm": "batch", "conditional": True}),
    objective=Component("gan"),
    optimizers={"discriminator": Optimizer(5e-4), "generator": Optimizer(5e-4)},
    run=RunOptions(batch_size=64, steps=1600),
    ema_half_life={"generator": 10_000.0},
)
