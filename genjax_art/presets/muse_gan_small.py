"""MuseGAN on two bars of Bach's chorales, narrowed for two CPU cores.

646 s on two cores of an AMD EPYC with jax 0.12 (2026-11-24), and not good: nearly all samples are one held chord.

As `muse-gan`, but narrower and with three instead of five updates of the critic a step, which learns more a minute.
python train.py muse-gan-small
"""

from genjax_art.config import Component, Data, Experiment, Optimizer

_adam = Optimizer(1e-3, Component("adam", {"b1": 0.5, "b2": 0.9}), Component("linear", {"start": 0.5}))

EXPERIMENT = Experiment(
    name="muse-gan-small",
    data=Data("chorales"),
    model=Component("muse_gan", {"latents": 128, "width": 24, "critic_width": 24}),
    objective=Component("gan", {"loss": "wasserstein", "penalties": {"wgan_gp": 10.0}, "discriminator_repeats": 3}),
    optimizers={"discriminator": _adam, "generator": _adam},
    batch_size=32,
    steps=3000,
    ema_half_life={"generator": 5_000.0},
    sample_every=1000,
    save_every=1000,
)
