"""Convolutional VAE on icons in twelve styles, 32x32x1, conditional on the style.

Cost: about ten minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Needs the fonts of the extra art: pip install -e ".[art]".
python train.py icons-vae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="icons-vae",
    data=Component("icons"),
    model=Component("conv_vae", {"latents": 64, "width": 32, "conditional": True}),
    objective=Component("vae", {"likelihood": "bernoulli"}),
    optimizers={"vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}), Component("cosine"))},
    run=RunOptions(batch_size=128, steps=3000, sample_every=1000, save_every=1000),
    ema_half_life={"vae": 10_000.0},
)
