"""MoCoGAN on animated sprites, 32x32, 8 frames, conditional on what they do: the label of a folder of clips.

Sources: Tulyakov et al. 2018 (arXiv:1707.04993); projection, Miyato & Koyama 2018 (arXiv:1802.05637); relativistic
pairing with R1 and R2, Huang et al. 2024 (arXiv:2501.05441). Made for sprites of the Liberated Pixel Cup: strips of
eight frames, a folder for each of nine actions.
Cost: about 10 minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
It needs your folder: --data.folder DIR, with a sub-folder for each label. Larger ones: --data.size 64 64.
python train.py mocogan-sprites
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-3, Component("adam", {"b1": 0.0, "b2": 0.99}), Component("cosine"))

EXPERIMENT = Experiment(
    name="mocogan-sprites",
    data=Component("clip_folder", {"size": (32, 32), "frames": 8}),
    model=Component(
        "mocogan",
        {
            "width": 32,
            "frames_width": 24,
            "clips_width": 16,
            "generator_norm": "conditional_batch",
            "finish": "convolution",
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
    run=RunOptions(batch_size=16, steps=3_000, sample_every=250, save_every=500),
    ema_half_life={"generator": 2_000.0},
)
