"""MuseGAN on two bars of Bach's chorales, for an accelerator.

Source: Dong et al. 2018 (arXiv:1709.06298, arXiv:1804.09399): Wasserstein critic with gradient penalty 10, five updates
a step, Adam 1e-3 (0.5, 0.9), learning rate down to 0 in the second half.
Cost: for an accelerator; not run yet. Narrow networks collapsed in this game, see `muse-gan-small`.
Four bars: --data.bars 4.
python train.py muse-gan
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(1e-3, Component("adam", {"b1": 0.5, "b2": 0.9}), Component("linear", {"start": 0.5}))

EXPERIMENT = Experiment(
    name="muse-gan",
    data=Component("chorales"),
    model=Component("muse_gan"),
    objective=Component("gan", {"loss": "wasserstein", "penalties": {"wgan_gp": 10.0}, "discriminator_repeats": 5}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=64, steps=50_000, sample_every=1000, save_every=5000),
    ema_half_life={"generator": 50_000.0},
)
