"""Stacked MNIST, 1,000 modes: relativistic pairing with R1 and R2 on small DCGAN networks; a reduced protocol.

Source of the data: Lin et al. 2018 (arXiv:1712.04086), whose runs see 6.4 M pictures; of the method: Huang et al. 2024
(arXiv:2501.05441), whose penalties are taken at every step. Learning rate to zero. Here runs see far fewer pictures.
The penalties' weights (gamma 10) and the rate are the best of eight settings, by modes after 600 steps.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
Full size, for an accelerator (not run yet): --model.width 128 --batch-size 256 --steps 25000.
`python -m genjax_art.benchmark modes --only stacked-mnist` trains it and counts the modes,
`python -m genjax_art.benchmark stacked_mnist RUN` counts those of a finished run.
python train.py stacked-mnist
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(1e-3, Component("adam", {"b1": 0.0, "b2": 0.99}), Component("cosine"))

EXPERIMENT = Experiment(
    name="stacked-mnist",
    data=Component("stacked_mnist"),
    model=Component("dcgan", {"latents": 128, "width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch"}),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 5.0, "r2": 5.0}}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=64, steps=7_000, log_every=100, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 20_000.0},
)
