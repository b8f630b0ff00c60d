"""SNGAN with projection discriminator, class-conditional on CIFAR-10: residual networks, spectral norm, hinge loss.

Source: Miyato et al. 2018 (arXiv:1802.05957), table 4, and Miyato & Koyama 2018 (arXiv:1802.05637): Adam (0, 0.9),
five updates of the discriminator a step, 50,000 steps, learning rate to zero. Published FID, unconditional: 21.7.
Cost: for an accelerator; not run yet. Needs CIFAR-10 prepared by TFDS (or TensorFlow to prepare it).
python train.py sngan-cifar10
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-4, Component("adam", {"b1": 0.0, "b2": 0.9}), Component("linear"))

EXPERIMENT = Experiment(
    name="sngan-cifar10",
    data=Component("cifar10"),
    model=Component("resnet", {"latents": 128, "width": 256, "discriminator_width": 128, "conditional": True}),
    objective=Component("gan", {"loss": "hinge", "discriminator_repeats": 5, "shared_latents": False}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=64, steps=50_000, sample_every=1000, save_every=5000),
    ema_half_life={"generator": 50_000.0},
)
