"""Creative adversarial network on pictures with style labels, 32x32x3: art of no style that its judge knows.

Source: Elgammal et al. 2017 (arXiv:1706.07068), with the networks, the game and the small ambiguity of `can-icons`. The
style entropy of samples by a classifier of its own (`evaluate`) shows how far they have left the styles;
--objective.ambiguity 0 imitates.
Cost: about ten minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Any folder with a sub-folder for each style will do: --data.name image_folder --data.folder DIR.
python train.py can-art
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="can-art",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component("dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "batch", "style_head": True}),
    objective=Component("can", {"ambiguity": 0.1, "loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers=dict.fromkeys(("discriminator", "generator"), Optimizer(1.5e-3, schedule=Component("cosine"))),
    run=RunOptions(batch_size=64, steps=6_000, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 10_000.0},
)
