"""Ring of 8 narrow Gaussians, the mode-coverage test of PacGAN: relativistic pairing with R1 and R2 on small networks.

Source of the data: Lin et al. 2018 (arXiv:1712.04086); of the method: Huang et al. 2024
(arXiv:2501.05441), learning rate to zero. The modes' standard deviation is a hundredth of the ring's radius: Fourier
features let the discriminator see that scale, and the signs of its latents let the generator jump between modes instead
of bridging them. Strong penalties spread the generator over all modes but leave them twice too wide, weak ones find the
width but lose modes: they fall from strong to weak over the burn-in.
`python -m genjax_art.benchmark modes --only ring8` trains ten seeds at once and counts the modes.
Cost: minutes on two CPU cores, all ten seeds. Results: genjax_art/benchmark/README.md.
python train.py ring8
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(2e-3, Component("adam", {"b1": 0.5, "b2": 0.9}), Component("cosine"))

EXPERIMENT = Experiment(
    name="ring8",
    data=Component("ring8"),
    model=Component("mlp", {"latents": 8, "width": 128, "layers": 3, "octaves": 6, "signs": True}),
    objective=Component(
        "gan", {"loss": "relativistic", "penalties": {"r1": (2e-2, 1e-4), "r2": (2e-2, 1e-4)}, "burn_in": 2500}
    ),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=256, steps=4000, log_every=100, sample_every=1000, save_every=2000),
    ema_half_life={"generator": 100_000.0},
)
