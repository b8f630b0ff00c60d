"""The importance weighted autoencoder with 50 samples, fully connected 784-400-20.

Source: Burda et al. 2016 (arXiv:1509.00519), on the network of `mlp-vae`.
Cost: some minutes on two CPU cores; only its speed is measured, see genjax_art/benchmark/README.md.
python train.py iwae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="iwae",
    model=Component("mlp_vae", {"latents": 20, "width": 400}),
    objective=Component("iwae", {"samples": 50}),
    optimizers={"vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}))},
    run=RunOptions(batch_size=20, steps=20_000, sample_every=2000, save_every=2000),
    ema_half_life={"vae": 10_000.0},
)
