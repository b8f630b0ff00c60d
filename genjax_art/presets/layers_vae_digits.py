"""A VAE of clips in layers on Moving MNIST, 64 pixels and 20 frames: given ten, it goes on with ten.

Sources: Hsieh et al. 2018 (arXiv:1806.04166), Locatello et al. 2020 (arXiv:2006.15055), narrowed; the bound, Li & Mandt
2018 (arXiv:1803.02991); the data's: Srivastava et al. 2015 (arXiv:1502.04681).
Cost: about twenty minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Prediction: sample.py RUN continue --clip FILE, or python -m genjax_art.evaluate RUN --metrics clip_prediction.
python train.py layers-vae-digits
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="layers-vae-digits",
    data=Component("moving_digits"),
    model=Component("layers_vae", {"layers": 2, "content": 16, "width": 16, "hidden": 256, "recurrent": 128}),
    objective=Component("video_vae", {"likelihood": "bernoulli", "kl_warmup_steps": 300}),
    optimizers={"vae": Optimizer(1.5e-3, Component("adam", {"b1": 0.9}), Component("cosine", {"warmup_steps": 50}))},
    run=RunOptions(batch_size=16, steps=4000, sample_every=1000, save_every=1000),
    ema_half_life={"vae": 10_000.0},
)
