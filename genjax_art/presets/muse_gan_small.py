"""MuseGAN on two bars of Bach's chorales, at a width that two CPU cores train in under 15 minutes.

Wasserstein critic with gradient penalty: 10, five updates a step, Adam (0.5, 0.9), linear decay at the end.
python train.py muse-gan-small
"""

from genjax_art.config import Component, Data, Experiment, Optimizer

_adam = Optimizer(1e-3, Component("adam", {"b1": 0.5, "b2": 0.9}), Component("linear", {"start": 0.5}))

EXPERIMENT = Experiment(
    name="muse-gan-small",
    data=Data("chorales"),
    model=Component("muse_gan", {"latents": 128, "width": 32, "critic_width": 32}),
    objective=Component("gan", {"loss": "wasserstein", "penalties": {"wgan_gp": 10.0}, "discriminator_repeats": 5}),
    optimizers={"discriminator": _adam, "generator": _adam},
    batch_size=32,
    steps=4000,
    ema_half_life={"generator": 5_000.0},
    sample_every=1000,
    save_every=1000,
)
