"""Creative adversarial network on icons, 32x32x1: icons of none of the twelve styles that its judge knows.

Source: Elgammal et al. 2017 (arXiv:1706.07068), on the networks of `icons-gan`, without their labels. The generator's
style entropy against that of reals, both over ln K, shows how far it has left the styles; --objective.ambiguity 0
imitates.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
Needs the fonts of the extra art: pip install -e ".[art]".
python train.py can-icons
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="can-icons",
    data=Component("icons"),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch", "style_head": True}),
    objective=Component("can", {"ambiguity": 1.0, "penalties": {"r1": 0.05}}),
    optimizers={"discriminator": Optimizer(4e-4), "generator": Optimizer(4e-4)},
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
