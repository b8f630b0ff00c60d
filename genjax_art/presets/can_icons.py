"""Creative adversarial network on icons, 32x32x1: icons of none of the twelve styles that its judge knows.

Source: Elgammal et al. 2017 (arXiv:1706.07068), on the networks and the game of `icons-gan`, without their labels. The
paper's ambiguity of 1 is too much for a discriminator as quick as this: clouds. The style entropy of samples by a
classifier of its own (`evaluate`) shows how far they have left the styles; --objective.ambiguity 0 imitates.
Cost: about six minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Needs the fonts of the extra art: pip install -e ".[art]".
python train.py can-icons
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="can-icons",
    data=Component("icons"),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch", "style_head": True}),
    objective=Component("can", {"ambiguity": 0.1, "loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers=dict.fromkeys(("discriminator", "generator"), Optimizer(1.5e-3, schedule=Component("cosine"))),
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
