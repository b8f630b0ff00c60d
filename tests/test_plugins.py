"""Parts from outside, each in one file under `plugins/`, through the real entry scripts: trained, resumed, drawn."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import thorough
from PIL import Image

from genjax_art import load_run
from genjax_art.errors import RunError
from genjax_art.latents import TYPICAL
from genjax_art.train.rows import read_metrics

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = Path(__file__).parent / "plugins"
# a preset's file, and the modules that a run of it names
METHODS = {
    "two_level_vae": ["two_level_vae"],
    "vae_gan": ["vae_gan"],
    "two_judges": ["two_judges", "bouncing", "strips"],
    "learned_prior": ["learned_prior"],
}
TRAINED: dict[str, Path] = {}  # by this process


@pytest.fixture(autouse=True)
def their_folder(own_data, monkeypatch):
    """The commands are given in the folder of the user's own modules."""
    monkeypatch.chdir(PLUGINS)
    monkeypatch.syspath_prepend(str(PLUGINS))


@pytest.fixture
def trained(command, tmp_path_factory, tmp_path):
    """`trained(name)`: the folder `run`, of the two steps that the method's file asks for; each is trained once."""

    def copy(name):
        if name not in TRAINED:
            folder = tmp_path_factory.mktemp(name) / "run"
            ended = command("train", f"{name}.py", "--parallel", "jit", "--run-dir", folder)
            assert ended.status == 0, ended.err
            TRAINED[name] = folder
        return shutil.copytree(TRAINED[name], tmp_path / "run")

    return copy


@pytest.mark.parametrize("name", ["vae_gan", *thorough("two_judges", "two_level_vae", "learned_prior")])
def test_a_method_of_ones_own_trains_resumes_and_draws(name, command, trained, tmp_path):
    trust, run = ["--trust", *METHODS[name]], trained(name)
    ended = command("train", "--resume", "--run-dir", run, "--steps", 4, "--parallel", "jit", *trust)
    assert ended.status == 0, ended.err
    whole = command("train", f"{name}.py", "--steps", 4, "--parallel", "jit", "--run-dir", tmp_path / "whole")
    assert whole.status == 0, whole.err
    parts, one = (load_run(folder, trust=METHODS[name]) for folder in (run, tmp_path / "whole"))
    for a, b in zip(jax.tree.leaves(parts.state), jax.tree.leaves(one.state), strict=True):
        np.testing.assert_array_equal(a, b)  # to the bit
    rows = read_metrics(run / "metrics.jsonl")
    losses = [value for key, value in rows[-1].items() if key.endswith("/loss")]
    assert len(rows) == 4 and len(losses) == len(parts.method.players) and np.isfinite(losses).all()
    for verb in ("grid", "walk", "contrast:draw"):
        ended = command("sample", run, verb, "--n", 2, "--out", tmp_path / f"{verb[:4]}.npz", *trust)
        assert ended.status == 0, ended.err
        with np.load(tmp_path / f"{verb[:4]}.npz") as arrays:
            assert arrays["x"].shape[1:] == parts.spec.shape and np.isfinite(arrays["x"]).all()
            assert len(arrays["x"]) == {"grid": 2, "walk": 2 * parts.medium.frames}.get(verb, 6)
    ended = command("sample", run, *trust)
    assert ended.status == 0 and (run / "grid.png").is_file(), ended.err
    with Image.open(run / "grid.png") as picture:
        assert np.asarray(picture).std() > 0


@pytest.mark.parametrize("name", ["vae_gan", *thorough("two_level_vae", "learned_prior")])
def test_its_encoder_reads_a_picture_of_the_users(name, command, trained, tmp_path):
    run, trust = trained(name), ["--trust", *METHODS[name]]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(tmp_path / "mine.png")
    ended = command("sample", run, "vary", "--picture", tmp_path / "mine.png", "--n", 3, *trust)
    assert ended.status == 0 and (run / "vary.png").is_file(), ended.err
    ended = command("sample", run, "walk", "--file", *[tmp_path / "mine.png"] * 2, "--n", 4, *trust)
    assert ended.status == 0 and (run / "walk.gif").is_file(), ended.err


@pytest.mark.thorough
def test_draws_come_from_the_learned_prior(trained):
    run = load_run(trained("learned_prior"), trust=["learned_prior"])
    z = run.draw(jax.random.key(0), 400)
    far = run.weights._replace(params=jax.tree.map(lambda p: p, dict(run.weights.params)))
    far.params["prior"] = {**far.params["prior"], "mu": far.params["prior"]["mu"] + 100.0}
    moved = jax.jit(run.method.draw, static_argnums=(2, 4))(far, jax.random.key(0), 400, None, TYPICAL)
    np.testing.assert_allclose(np.asarray(moved), z + 100.0, rtol=1e-4)


def test_a_run_that_names_code_from_outside_asks_before_it_is_imported(command, trained):
    run = trained("two_judges")
    for module in METHODS["two_judges"]:
        sys.modules.pop(module, None)
    resume = ("train", "--resume", "--run-dir", run, "--steps", 4)
    for words in (("sample", run), ("sample", run, "--trust", "two_judges"), resume):
        ended = command(*words)
        assert ended.status == 1 and ended.err.count("\n") == 1, ended.err
        assert "code from outside" in ended.err and "--trust" in ended.err and "bouncing" in ended.err
        assert not set(METHODS["two_judges"]) & set(sys.modules)
    with pytest.raises(RunError, match="add --trust"):
        load_run(run)
    assert command("sample", run, "--trust", *METHODS["two_judges"]).status == 0


def test_a_measure_of_ones_own(trained, tmp_path):
    from genjax_art import evaluate

    run = trained("two_judges")
    words = ["--n", "6", "--metrics", "levels:measure", "--trust", *METHODS["two_judges"]]
    assert evaluate.evaluate([str(run), *words, "--json", str(tmp_path / "numbers.json")]) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert -1 <= numbers["level"] <= 1 and numbers["contrast"] > 0 and numbers["n"] == 6


@pytest.mark.thorough
def test_in_a_process_of_its_own(tmp_path):
    """As a user starts it, from the folder of the modules, with the scripts elsewhere."""
    words = ["two_judges.py", "--parallel", "jit", "--run-dir", str(tmp_path / "run")]
    environment = {**os.environ, "GENJAX_ART_COMPILATION_CACHE": "off"}
    environment.pop("PYTHONPATH", None)
    trust = ["--trust", *METHODS["two_judges"]]
    for script, more in (("train", words), ("sample", [str(tmp_path / "run"), "walk", "--n", "2", *trust])):
        child = subprocess.run(
            [sys.executable, str(ROOT / f"{script}.py"), *more],
            cwd=PLUGINS,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert child.returncode == 0, child.stderr
    assert (tmp_path / "run" / "walk.gif").is_file()


@pytest.mark.parametrize("name", [path.stem for path in sorted(PLUGINS.glob("*.py"))])
def test_each_is_one_file_that_needs_no_other_but_ours(name):
    module = importlib.import_module(name)
    others = {path.stem for path in PLUGINS.glob("*.py")} - {name}
    assert not others & set(vars(module))


def test_help_shows_options_of_parts_from_outside(command):
    ended = command("train", "two_judges.py", "--help")
    assert ended.status == 0 and "Weight of R1" in ended.out and "--data.frames" in ended.out
