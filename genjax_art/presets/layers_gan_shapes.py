"""A GAN of clips in layers on a coloured shape that moves, 32x32, 16 frames, conditional on shape and colour.

Sources: Tulyakov et al. 2018 (arXiv:1707.04993), its content drawn once a clip; projection, Miyato & Koyama 2018
(arXiv:1802.05637); gains of each class, de Vries et al. 2017 (arXiv:1707.00683); relativistic pairing, R1 and R2, Huang
et al. 2024 (arXiv:2501.05441).
Cost: about ten minutes on two CPU cores with nothing beside. Results: genjax_art/benchmark/README.md.
python train.py layers-gan-shapes
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-3, Component("adam", {"b1": 0.0, "b2": 0.99}), Component("cosine"))

EXPERIMENT = Experiment(
    name="layers-gan-shapes",
    data=Component("moving_shapes"),
    model=Component(
        "layers_gan",
        {
            "width": 32,
            "frames_width": 16,
            "clips_width": 16,
            "generator_norm": "conditional_batch",
            "conditional": True,
        },
    ),
    objective=Component(
        "video_gan",
        {
            "loss": "relativistic",
            "penalties": {"r1": 1.0, "r2": 1.0},
            "frames_judged": 4,
            "frame_penalties": {"r1": 0.25, "r2": 0.25},
        },
    ),
    optimizers={"frames": _adam, "clips": _adam, "generator": _adam},
    run=RunOptions(batch_size=16, steps=4_000, sample_every=250, save_every=500),
    ema_half_life={"generator": 8_000.0},
)
