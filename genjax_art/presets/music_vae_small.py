"""MusicVAE on two bars of Bach's chorales, narrowed for two CPU cores.

Source: Roberts et al. 2018 (arXiv:1803.05428), as `music-vae`.
Cost: about a quarter of an hour on two CPU cores. Results: genjax_art/benchmark/README.md.
python train.py music-vae-small
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="music-vae-small",
    data=Component("chorales"),
    model=Component(
        "music_vae",
        {
            "latents": 64,
            "embedding": 96,
            "encoder_width": 192,
            "conductor_width": 128,
            "decoder_width": 320,
            "decoder_layers": 1,
            "head_width": 128,
        },
    ),
    objective=Component("music_vae", {"free_bits": 32.0, "kl_warmup_steps": 500, "temperature": 1.0}),
    optimizers={"vae": Optimizer(2e-3, Component("adam", {"b1": 0.9}), Component("cosine", {"warmup_steps": 50}), 1.0)},
    run=RunOptions(batch_size=64, steps=4500, sample_every=1000, save_every=1000),
    ema_half_life={"vae": 10_000.0},
)
