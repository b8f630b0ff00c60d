"""MusicVAE on two bars of Bach's chorales, about as wide as in the paper, for an accelerator.

Source: Roberts et al. 2018 (arXiv:1803.05428), appendix: encoder 2048 in both directions, conductor 1024, decoder two
layers of 1024, batch 512, 48 free bits, Adam 1e-3. Half the encoder and z 256 here, which is plenty for 3,000 bars.
Cost: for an accelerator; not run yet. Four bars: --data.bars 4.
python train.py music-vae
"""

from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="music-vae",
    data=Component("chorales"),
    model=Component("music_vae"),
    objective=Component("music_vae", {"free_bits": 48.0, "kl_warmup_steps": 1000, "temperature": 1.0}),
    optimizers={
        "vae": Optimizer(1e-3, Component("adam", {"b1": 0.9}), Component("cosine", {"warmup_steps": 100}), 1.0)
    },
    run=RunOptions(batch_size=512, steps=2000, sample_every=500, save_every=500),
    ema_half_life={"vae": 20_000.0},
)
