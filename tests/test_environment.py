"""Odd surroundings: no home, other platforms and encodings; and errors of one line, wherever they are made."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import thorough
from small import noise, vae_experiment

from genjax_art import cli, evaluate, files
from genjax_art.build import build_plan
from genjax_art.data.cache import cache_folder
from genjax_art.data.request import sets_folder
from genjax_art.errors import RunError, UsageError
from genjax_art.keys import key_of
from genjax_art.options import parse
from genjax_art.run import layout
from genjax_art.spec import ArraySpec
from genjax_art.train import process

ROOT = Path(cli.__file__).resolve().parents[1]


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """As in a container that knows the user's number and nothing else."""

    def unknown(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", lambda path: unknown() if str(path).startswith("~") else path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "GENJAX_ART_CACHE", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_without_a_home_there_is_a_folder_of_ones_own(homeless):
    own = homeless / f"genjax_art-{os.getuid()}"
    assert files.home() == own == files.home()
    assert own.stat().st_mode & 0o777 == 0o700
    assert cache_folder() == own / ".cache" / "genjax_art"
    assert sets_folder(None) == own / "tensorflow_datasets"
    with pytest.raises(UsageError, match="no home folder is known here for ~/pictures: name the whole path"):
        files.expanded("~/pictures")


@pytest.mark.parametrize("what", ["link", "open"])
def test_a_folder_of_somebody_elses_is_not_taken(homeless, what):
    own = homeless / f"genjax_art-{os.getuid()}"
    if what == "link":
        (homeless / "evil").mkdir()
        own.symlink_to(homeless / "evil")
    else:
        own.mkdir()
        own.chmod(0o777)
    assert files.home() != own and files.home().is_dir()


def test_a_platform_that_is_not_here_is_one_line(monkeypatch):
    def missing():
        raise RuntimeError("Unable to initialize backend 'tpu'")

    before = jax.config.values["jax_platforms"]
    monkeypatch.setattr(jax, "devices", missing)
    jax.config.update("jax_platforms", "tpu")
    try:
        with pytest.raises(RunError, match=r"JAX_PLATFORMS asks for tpu, .* there is: cpu\. Unset JAX_PLATFORMS"):
            process._check_platforms()
    finally:
        jax.config.update("jax_platforms", before)


def test_long_numbers_are_switched_off_with_a_word(capsys):
    jax.config.update("jax_enable_x64", True)
    try:
        process._usual_numbers()
        assert not jax.config.values["jax_enable_x64"]
    finally:
        jax.config.update("jax_enable_x64", False)
    assert capsys.readouterr().err == "JAX_ENABLE_X64 is ignored: networks and runs are of 32-bit numbers\n"


@pytest.mark.parametrize(("name", "other"), [("jax_threefry_partitionable", False), ("jax_random_seed_offset", 7)])
def test_random_numbers_are_those_of_every_process(name, other, capsys):
    """A run is resumed elsewhere, where the environment may ask JAX for other ones."""
    usual = jax.config.values[name]
    expected = jax.random.normal(key_of(3), (4,))
    jax.config.update(name, other)
    try:
        process._usual_numbers()
        np.testing.assert_array_equal(jax.random.normal(key_of(3), (4,)), expected)
        with jax.default_prng_impl("rbg"):
            np.testing.assert_array_equal(jax.random.normal(key_of(3), (4,)), expected)
    finally:
        jax.config.update(name, usual)
    assert capsys.readouterr().err == f"{name.upper()} is ignored: a run resumes to the same numbers\n"


def test_an_output_that_cannot_say_a_path_ends_nothing(monkeypatch):
    said = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("sys.stdout", said)
    with pytest.raises(SystemExit) as end:
        cli.main(lambda arguments: print("läufe"))
    assert end.value.code == 0 and said.buffer.getvalue() == b"l\\xe4ufe\n"


# One line for whatever is wrong with the words.


@dataclass(frozen=True)
class Words:
    number: float = 0.5
    whole: int = 3
    pair: tuple[float, float] = (1.0, 2.0)
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nunber", "1"], "unrecognized options: --nunber, 1; similar: --number; for all options see x.py --help"),
        (["--whole", "many"], "--whole: .*'many'; for all options see x.py --help"),
        (["--whole"], "missing value for argument '--whole'"),
        (["--number", "nan"], "--number must be a finite number, got nan"),
        (["--number", "-inf"], "--number must be a finite number, got -inf"),
        (["--pair", "1", "nan"], "--pair must be a finite number, got nan"),
        (["--weights.a", "nan"], "--weights.a must be a finite number, got nan"),
    ],
)
def test_wrong_words_are_one_line(words, message):
    with pytest.raises(UsageError, match=message) as error:
        parse(Words, words, "x.py")
    assert "\n" not in str(error.value) and "│" not in str(error.value)


def test_none_is_a_word_where_nothing_is_the_default(finished):
    for words, label in (([], None), (["--label", "None"], "None"), (["--label=-x"], "-x")):
        assert cli.parse_sample([str(finished), "grid", *words]).options["label"] == label


def test_help_is_as_it_was(capsys):
    with pytest.raises(SystemExit) as end:
        parse(Words, ["--help"], "x.py", "What it does.")
    out, err = capsys.readouterr()
    assert end.value.code == 0 and "What it does." in out and "--whole INT" in out and err == ""


def test_nothing_to_measure_with_is_one_line(monkeypatch, tmp_path, quick_runs):
    """One held-out piece has no spread."""
    from genjax_art.run.training import run

    grey = ArraySpec((8, 8, 1))
    run(build_plan(vae_experiment(), grey), noise(grey, 20), tmp_path / "run", how="jit")
    monkeypatch.setattr("genjax_art.build.build_source", lambda experiment, split=None: noise(grey, 1 if split else 20))
    with pytest.raises(RunError, match="the held-out data has 1 example: measures need at least 2; see --split"):
        evaluate.evaluate([str(tmp_path / "run"), "--n", "4"])
    assert layout.is_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["genjax_art.evaluate", "RUN"], 1, "error: no run in RUN: config.json is missing"),
        (["genjax_art.benchmark", "steps", "--unknown"], 2, "error: unrecognized options: --unknown"),
        *thorough(
            (["genjax_art.evaluate", "RUN", "--n", "0"], 2, "error: --n must be at least 2, got 0"),
            (["genjax_art.benchmark", "nothing"], 2, "error: name a benchmark: "),
        ),
    ],
)
def test_modules_tell_the_users_errors_in_one_line(words, status, message):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-m", *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (child.returncode, child.stdout, child.stderr.count("\n")) == (status, "", 1), child.stderr
    assert child.stderr.startswith(message)
