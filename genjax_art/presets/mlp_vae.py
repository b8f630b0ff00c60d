"""The fully connected VAE 784-400-20 with Bernoulli likelihood.

Source: Kingma & Welling 2014 (arXiv:1312.6114).
Cost: under a minute on two CPU cores; only its speed is measured, see genjax_art/benchmark/README.md.
python train.py mlp-vae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="mlp-vae",
    model=Component("mlp_vae", {"latents": 20, "width": 400}),
    objective=Component("vae", {"likelihood": "bernoulli"}),
    optimizers={"vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}))},
    run=RunOptions(batch_size=128, steps=5000, sample_every=1000, save_every=2000),
    ema_half_life={"vae": 10_000.0},
)
