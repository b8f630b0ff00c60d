"""A VAE of clips with content and motion apart, on coloured shapes that move: 32 pixels, 16 frames.

Sources: Li & Mandt 2018 (arXiv:1803.02991), narrowed; the content's learned prior, Chen et al. 2017 (arXiv:1611.02731).
Cost: eleven minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
python train.py video-vae-shapes
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="video-vae-shapes",
    data=Component("moving_shapes"),
    model=Component("video_vae", {"content": 8, "motion": 3, "width": 16, "hidden": 128, "recurrent": 96}),
    objective=Component(
        "video_vae",
        {"likelihood": "bernoulli", "beta_content": 4.0, "beta_motion": 4.0, "kl_warmup_steps": 300},
    ),
    optimizers={"vae": Optimizer(1.5e-3, Component("adam", {"b1": 0.9}), Component("cosine", {"warmup_steps": 50}))},
    run=RunOptions(batch_size=16, steps=4000, sample_every=1000, save_every=1000),
    ema_half_life={"vae": 10_000.0},
)
