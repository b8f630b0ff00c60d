"""MoCoGAN on clips of a coloured shape that moves, 32x32, 16 frames, conditional on shape and colour; with R1.

Sources: Tulyakov et al. 2018 (arXiv:1707.04993); projection, Miyato & Koyama 2018 (arXiv:1802.05637); R1, Mescheder
et al. 2018 (arXiv:1801.04406).
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
python train.py mocogan-shapes
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(4e-4)

EXPERIMENT = Experiment(
    name="mocogan-shapes",
    data=Component("moving_shapes"),
    model=Component("mocogan", {"width": 24, "frames_width": 16, "clips_width": 16, "conditional": True}),
    objective=Component("video_gan"),
    optimizers={"frames": _adam, "clips": _adam, "generator": _adam},
    run=RunOptions(batch_size=16, steps=3_000, sample_every=250, save_every=250),
    ema_half_life={"generator": 2_000.0},
)
