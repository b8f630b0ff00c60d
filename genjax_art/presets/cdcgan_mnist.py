"""Class-conditional DCGAN on MNIST: labels beside the latents, projection in the discriminator, R1.

Sources: Mirza & Osindero 2014 (arXiv:1411.1784); Miyato & Koyama 2018 (arXiv:1802.05637); R1: Mescheder et al. 2018
(arXiv:1801.04406).
Cost: some minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Needs MNIST prepared by TFDS (or TensorFlow to prepare it); --data.name mnist_5k needs nothing.
python train.py cdcgan-mnist
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(4e-4)

EXPERIMENT = Experiment(
    name="cdcgan-mnist",
    data=Component("mnist"),
    model=Component("dcgan", {"width": 32, "generator_norm": "batch", "conditional": True}),
    objective=Component("gan", {"penalties": {"r1": 0.05}}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=128, steps=4_000, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
