"""DCGAN on pictures with style labels, 32x32x3, conditional on the style, which has gains of its own in every layer.

Sources: as `icons-gan`: Radford et al. 2015 (arXiv:1511.06434), conditional batch norm (arXiv:1707.00683), projection
(arXiv:1802.05637), relativistic pairing with R1 and R2 (arXiv:2501.05441). Twice as long is no better.
Cost: about six minutes on two CPU cores. Results: genjax_art/benchmark/README.md.
Any labelled folder will do: --data.name image_folder --data.folder DIR.
python train.py dcgan-art
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="dcgan-art",
    data=Component("procedural_art", {"size": (32, 32), "channels": 3}),
    model=Component(
        "dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "conditional_batch", "conditional": True}
    ),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers=dict.fromkeys(("discriminator", "generator"), Optimizer(1.5e-3)),
    run=RunOptions(batch_size=64, steps=4_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
