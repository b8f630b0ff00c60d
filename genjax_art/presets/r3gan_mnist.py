"""R3GAN with about 2.7 M parameters a network on MNIST, class-conditional: relativistic pairing, R1 and R2, no norm.

Source: Huang et al. 2024 (arXiv:2501.05441), at a width of 256 and constant hyper-parameters.
Cost: for an accelerator, not run there yet. Narrowed it was trained on two CPU cores: genjax_art/benchmark/README.md.
Needs MNIST prepared by TFDS (or TensorFlow to prepare it); --data.name mnist_5k needs nothing.
python train.py r3gan-mnist
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-4, Component("adam", {"b1": 0.0, "b2": 0.99}))

EXPERIMENT = Experiment(
    name="r3gan-mnist",
    data=Component("mnist"),
    model=Component("r3gan", {"widths": (256,), "blocks": 2, "conditional": True}),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 0.05, "r2": 0.05}}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=128, steps=50_000, sample_every=1000, save_every=5000),
    ema_half_life={"generator": 10_000.0},
)
