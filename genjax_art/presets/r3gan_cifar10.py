"""R3GAN, class-conditional on CIFAR-10, in the paper's sizes and with its burn-in: 21 M parameters a network.

Source: Huang et al. 2024 (arXiv:2501.05441), appendix, and the authors' CIFAR10 settings: batches of 512, and over the
first 20 M images, in half a cosine, the learning rate from 2e-4 to 5e-5, gamma from 0.05 to 0.005 (so weights of half
of that), Adam's b2 from 0.9 to 0.99, the EMA's half-life from 0 to 5 M images and the augmentations' probability from 0
to 0.55. The authors augment with ADA's operations and mirror the data; here it is DiffAugment's and a flip, so their
FID of 1.96 is a landmark, no promise. The run is as long as the burn-in; --steps lets it go on.
Cost: for an accelerator; not run yet. Needs CIFAR-10 prepared by TFDS (or TensorFlow to prepare it).
python train.py r3gan-cifar10
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

BATCH = 512
BURN_IN = 20_000_000 // BATCH  # in steps
_adam = Optimizer(
    2e-4,
    Component("adam_burn_in", {"b1": 0.0, "b2": 0.9, "final_b2": 0.99, "over": BURN_IN}),
    Component("burn_in", {"over": BURN_IN, "final": 0.25}),
)

EXPERIMENT = Experiment(
    name="r3gan-cifar10",
    data=Component("cifar10"),
    model=Component("r3gan", {"widths": (768,), "blocks": 2, "conditional": True}),
    objective=Component(
        "gan",
        {
            "loss": "relativistic",
            "penalties": {"r1": (0.025, 0.0025), "r2": (0.025, 0.0025)},
            "augmentations": ("color", "translation", "cutout", "flip"),
            "augmentation_probability": (0.0, 0.55),
            "burn_in": BURN_IN,
        },
    ),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=BATCH, steps=BURN_IN, sample_every=500, save_every=2000),
    ema_half_life={"generator": 5_000_000.0},
    ema_burn_in=20_000_000.0,
)
