"""MoCoGAN on animated sprites, 32x32, 8 frames, conditional on what they do: the label of a folder of clips; with R1.

Sources: Tulyakov et al. 2018 (arXiv:1707.04993); projection, Miyato & Koyama 2018 (arXiv:1802.05637); R1, Mescheder
et al. 2018 (arXiv:1801.04406). Made for the sprites of the Liberated Pixel Cup: strips of eight frames in nine folders.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
It needs your folder: --data.folder DIR, with a sub-folder for each label. Larger ones: --data.size 64 64.
python train.py mocogan-sprites --data.folder DIR
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(4e-4)

EXPERIMENT = Experiment(
    name="mocogan-sprites",
    data=Component("clip_folder", {"size": (32, 32), "frames": 8}),
    model=Component("mocogan", {"width": 32, "frames_width": 24, "clips_width": 16, "conditional": True}),
    objective=Component("video_gan"),
    optimizers={"frames": _adam, "clips": _adam, "generator": _adam},
    run=RunOptions(batch_size=16, steps=3_000, sample_every=250, save_every=250),
    ema_half_life={"generator": 2_000.0},
)
