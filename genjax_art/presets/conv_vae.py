"""Convolutional VAE with Bernoulli likelihood, for pictures of 28 to 64 pixels.

Source: the plain design of Larsen et al. 2016 (arXiv:1512.09300).
Cost: some minutes on two CPU cores. Results, on all of MNIST (--data.name mnist): genjax_art/benchmark/README.md.
Other likelihoods: --objective.likelihood gaussian | discretized_logistic; --objective.beta, --objective.minimum-kl.
python train.py conv-vae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="conv-vae",
    model=Component("conv_vae", {"latents": 20, "width": 32}),
    objective=Component("vae", {"likelihood": "bernoulli"}),
    optimizers={"vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}), Component("cosine"))},
    run=RunOptions(batch_size=128, steps=3000, sample_every=1000, save_every=2000),
    ema_half_life={"vae": 10_000.0},
)
