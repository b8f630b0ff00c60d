"""GAN on your own pictures, 32x32x3, meant for some hundreds: its discriminator sees them distorted.

Sources: DCGAN, Radford et al. 2015 (arXiv:1511.06434); differentiable augmentation, without which a discriminator knows
a small set by heart, Zhao et al. 2020 (arXiv:2006.10738).
Cost: not measured, nor from how many pictures on it holds: it was not trained yet.
It needs your folder: --data.folder DIR. Larger ones: --data.size 64 64. Of one label each: --model.conditional.
python train.py pictures
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="pictures",
    data=Component("image_folder", {"size": (32, 32), "channels": 3}),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch"}),
    objective=Component("gan", {"augmentations": ("translation", "cutout", "color")}),
    optimizers={"discriminator": Optimizer(2e-4), "generator": Optimizer(2e-4)},
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
