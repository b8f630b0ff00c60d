"""DCGAN of the GAN case study: 128 filters of 5x5, z 100, Adam 1e-4, batch 128, 100 epochs of MNIST (46,900 steps).

Source: the case study, after Radford et al. 2015 (arXiv:1511.06434); Adam's b1 = 0.9 as the study leaves it.
Cost: for an accelerator; not run to the end yet, the step's speed is in genjax_art/benchmark/README.md.
Needs MNIST prepared by TFDS (or TensorFlow to prepare it).
python train.py dcgan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(1e-4, Component("adam", {"b1": 0.9}))

EXPERIMENT = Experiment(
    name="dcgan",
    data=Component("mnist"),
    model=Component("dcgan", {"latents": 100, "width": 128}),
    objective=Component("gan"),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=128, steps=46_900, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
