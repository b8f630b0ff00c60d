"""GAN on your own pictures, 32x32x3, from about 300 on (100 it learns by heart): its discriminator sees them distorted.

Sources: DCGAN, Radford et al. 2015 (arXiv:1511.06434); differentiable augmentation, without which a discriminator knows
a small set by heart, Zhao et al. 2020 (arXiv:2006.10738); relativistic pairing with R1 and R2, Huang et al. 2024
(arXiv:2501.05441).
Cost: about six minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
It needs your folder: --data.folder DIR. A tenth of the pictures is held out, to measure the run by: --data.split train
takes all, as where the folder has a part named test. Larger ones: --data.size 64 64 --model.width 16. Of one label
each: --model.conditional. Where mirror images are as good: --objective.augmentations translation color flip.
python train.py pictures
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="pictures",
    data=Component("image_folder", {"size": (32, 32), "channels": 3, "split": "train[:90%]"}),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch"}),
    objective=Component(
        "gan",
        {"loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}, "augmentations": ("translation", "color")},
    ),
    optimizers={"discriminator": Optimizer(2e-3), "generator": Optimizer(2e-3)},
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
