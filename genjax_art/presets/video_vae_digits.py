"""A VAE of clips on Moving MNIST, 64 pixels and 20 frames: given ten, it goes on with ten.

Source: Li & Mandt 2018 (arXiv:1803.02991), narrowed; the data's: Srivastava et al. 2015 (arXiv:1502.04681).
Cost: about twenty minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Prediction: sample.py RUN continue --clip FILE, or python -m genjax_art.evaluate RUN --metrics clip_prediction.
python train.py video-vae-digits
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="video-vae-digits",
    data=Component("moving_digits"),
    model=Component("video_vae", {"content": 32, "motion": 8, "width": 16, "hidden": 256, "recurrent": 192}),
    objective=Component("video_vae", {"likelihood": "bernoulli", "kl_warmup_steps": 300}),
    optimizers={"vae": Optimizer(1.5e-3, Component("adam", {"b1": 0.9}), Component("cosine", {"warmup_steps": 50}))},
    run=RunOptions(batch_size=16, steps=4000, sample_every=1000, save_every=1000),
    ema_half_life={"vae": 10_000.0},
)
