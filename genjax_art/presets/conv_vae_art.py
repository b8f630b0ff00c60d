"""Convolutional VAE on pictures with style labels, 32x32x3, conditional on the style.

It learns the palettes of the data, not the styles; for those, `dcgan-art`.
Cost: some minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Any labelled folder will do: --data.name image_folder --data.folder DIR.
python train.py conv-vae-art
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="conv-vae-art",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component("conv_vae", {"latents": 64, "width": 32, "conditional": True}),
    objective=Component("vae", {"likelihood": "discretized_logistic"}),
    optimizers={"vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}), Component("cosine"))},
    run=RunOptions(batch_size=128, steps=3000, sample_every=1000, save_every=2000),
    ema_half_life={"vae": 10_000.0},
)
