"""DCGAN of the GAN case study: 128 filters of 5x5, z 100, batch 128, 100 epochs of MNIST (46,900 steps).

Source: the case study, after Radford et al. 2015 (arXiv:1511.06434), whose batch statistics in the generator and Adam
(2e-4, b1 = 0.5) are taken from there: without them, with the study's 1e-4 and b1 = 0.9, the discriminator has won after
200 steps and all pictures turn black.
Cost: for an accelerator; not run to the end yet, the step's speed is in genjax_art/benchmark/README.md.
Needs MNIST prepared by TFDS (or TensorFlow to prepare it).
python train.py dcgan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="dcgan",
    data=Component("mnist"),
    model=Component("dcgan", {"latents": 100, "width": 128, "generator_norm": "batch"}),
    objective=Component("gan"),
    optimizers={"discriminator": Optimizer(2e-4), "generator": Optimizer(2e-4)},
    run=RunOptions(batch_size=128, steps=46_900, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
