"""Ten modes in 1,200 dimensions, each spread over 700 of them: the mode-coverage test of VEEGAN, on dense networks.

Source of the data: Srivastava et al. 2017 (arXiv:1705.07761); of the method: Huang et al. 2024 (arXiv:2501.05441), as
in `ring8`. Fourier features let the discriminator see how far each axis spreads.
Not solved: it reaches all ten modes at their right distance but spreads over the axes beside them, too.
Cost: about two minutes a seed on two CPU cores. Results: genjax_art/benchmark/README.md.
`python -m genjax_art.benchmark modes --only mixture1200` trains five seeds at once and counts the modes.
python train.py mixture1200
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

_adam = Optimizer(1e-3, Component("adam", {"b1": 0.5, "b2": 0.99}), Component("cosine"))

EXPERIMENT = Experiment(
    name="mixture1200",
    data=Component("mixture1200"),
    model=Component("mlp", {"latents": 512, "width": 512, "layers": 2, "octaves": 2, "signs": True}),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 1e-2, "r2": 1e-2}}),
    optimizers={"discriminator": _adam, "generator": _adam},
    run=RunOptions(batch_size=64, steps=1200, log_every=100, sample_every=600, save_every=600),
    ema_half_life={"generator": 10_000.0},
)
