"""GAN on icons in twelve styles, 32x32x1, conditional on the style, which has gains of its own in every layer.

Sources: DCGAN, Radford et al. 2015 (arXiv:1511.06434); conditional batch norm, de Vries et al. 2017 (arXiv:1707.00683);
projection, Miyato & Koyama 2018 (arXiv:1802.05637); relativistic pairing with R1 and R2, Huang et al. 2024
(arXiv:2501.05441).
Cost: about twelve minutes on two CPU cores; --steps 4000 gets most of it in six.
Results: genjax_art/benchmark/README.md.
Needs the fonts of the extra art: pip install -e ".[art]".
python train.py icons-gan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="icons-gan",
    data=Component("icons"),
    model=Component(
        "dcgan", {"width": 32, "growth": 2, "kernel": 4, "generator_norm": "conditional_batch", "conditional": True}
    ),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}}),
    optimizers=dict.fromkeys(("discriminator", "generator"), Optimizer(1.5e-3, schedule=Component("cosine"))),
    run=RunOptions(batch_size=64, steps=8_000, sample_every=1000, save_every=1000),
    ema_half_life={"generator": 10_000.0},
)
