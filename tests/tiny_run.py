"""A run of a tiny VAE, for tests of what lies in its folder."""

from small import noise, vae_experiment

from genjax_art.build import build_plan
from genjax_art.config import with_run
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec

GREY = ArraySpec((6, 5, 1))
SOURCE = noise(GREY, 20)
PLAN = build_plan(with_run(vae_experiment(), steps=6, sample_every=0, save_every=2, keep_latest=3), GREY)


def train(folder, resume=False, **changes):
    return run(with_run(PLAN, **changes), SOURCE, folder, how="jit", resume=resume)


def steps(folder):
    return sorted(int(path.name) for path in (folder / layout.CHECKPOINTS).iterdir() if path.name.isdecimal())


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
