"""The numbers of a music run, on a method whose answers are known."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from small import vae_experiment

from genjax_art import evaluate
from genjax_art.build import build_plan
from genjax_art.data.contract import ArraySource
from genjax_art.errors import UsageError
from genjax_art.losses.variational import Gaussian
from genjax_art.metrics import music_report
from genjax_art.music import notes
from genjax_art.objectives.method import Method, standard_normal
from genjax_art.run import layout
from genjax_art.run.load import Run
from genjax_art.run.training import initial_state
from genjax_art.train.checkpoint import Checkpoints

SPEC = notes.roll_spec(2, 2)
SIZE = int(np.prod(SPEC.shape))


def music(seed, n=6):
    """Rolls of random tokens, mostly holds."""
    rng = np.random.default_rng(seed)
    drawn = np.where(rng.random((n, 32, 2)) < 0.6, notes.HOLD, rng.integers(20, 40, (n, 32, 2)))
    return np.stack([notes.roll_from_tokens(piece) for piece in drawn])


def in_range(rolls):
    return 2.0 * rolls.astype(np.float32) - 1.0


def method_of(late=0, shift=0, back=False):
    """z is the piece itself, with unit variance.

    Free running plays it `late` steps later (and where z is the last piece, if `back`, the first one); teacher forcing
    starts each note `shift` rows lower.
    """

    def encode(weights, x, label, keys):
        return x.reshape(len(x), -1)

    def decode(weights, z, label, keys):
        there = jnp.all(z == TOLD[-1].reshape(1, -1), -1, keepdims=True) & back
        z = jnp.where(there, TOLD[0].reshape(1, -1), z)
        return jnp.roll(z.reshape(-1, *SPEC.shape), late, 1)

    def token_logits(weights, z, x):
        tokens = np.stack([notes.tokens_from_roll(piece) for piece in music(0)])
        return jnp.eye(notes.TOKENS)[np.where(tokens < notes.PITCHES, tokens - shift, tokens)]

    def posterior(weights, x, label):
        return Gaussian(x.reshape(len(x), -1), jnp.zeros((len(x), SIZE)))

    abilities = {"token_logits": token_logits, "posterior": posterior}
    method = Method((), lambda key: ({}, {}), standard_normal(SIZE), decode, encode, abilities=abilities)
    plan = dataclasses.replace(build_plan(vae_experiment(), SPEC), method=method, ema={})
    return Run(Path(), vae_experiment(), plan, initial_state(plan))


TOLD = in_range(music(0))


def test_a_perfect_autoencoder_scores_one():
    numbers = music_report.latent_report(method_of(), TOLD)
    assert numbers["note_accuracy_free"] == numbers["note_accuracy_teacher_forced"] == 1.0
    assert numbers["pitch_accuracy_free"] == 1.0
    assert numbers["kl_nats"] == pytest.approx(0.5 * SIZE)  # |mu|^2 / 2: every entry is -1 or 1
    assert numbers["latents"] == SIZE
    assert numbers["active_units"] == (TOLD.reshape(6, -1).var(0) > 0.01).sum() < SIZE


def test_free_running_and_teacher_forced_accuracy_are_told_apart():
    late = music_report.latent_report(method_of(late=1), TOLD)
    assert late["note_accuracy_teacher_forced"] == 1.0 and late["note_accuracy_free"] < 0.2
    low = music_report.latent_report(method_of(shift=1), TOLD)
    assert low["note_accuracy_teacher_forced"] == 0.0 and low["note_accuracy_free"] == 1.0


def test_interpolations_are_measured_in_hamming_steps():
    pair = TOLD[[0, -1]].reshape(2, -1)
    numbers = music_report.interpolation_report(method_of(), pair)
    steps = numbers["interpolation"]
    assert len(steps) == music_report.STEPS + 1 and steps[0] == 0.0 and np.all(np.diff(steps) >= 0)
    first, last = music_report.sounding(music(0)[[0, -1]])
    assert steps[-1] == pytest.approx((first != last).mean())
    assert numbers["interpolation_rising"] == 1.0
    back = music_report.interpolation_report(method_of(back=True), pair)
    assert back["interpolation"][-1] == 0.0
    assert back["interpolation_rising"] == 1.0 - 1.0 / music_report.STEPS


def test_copies_and_distinct_clips_are_counted():
    rolls = music(0, 4)
    twice = np.concatenate([rolls[:2], rolls[:2]])
    numbers = music_report.sample_report(twice, rolls, None, rolls[:1])
    assert numbers["distinct"] == 0.5 and numbers["copy_rate"] == 0.5 and numbers["copy_rate_heldout"] == 0.25


def test_frechet_distances_stand_side_by_side():
    heldout, training = music(0, 30), music(1, 90)
    same = music_report.sample_report(heldout, heldout, None, training)
    assert 0 <= same["frechet_distance"] < 1e-9 < same["frechet_distance_training"]
    swapped = music_report.sample_report(training[::3], heldout, None, heldout)
    assert 0 <= swapped["frechet_distance_training"] < 1e-9 < swapped["frechet_distance"]
    silent = music_report.sample_report(0 * heldout, heldout, None, training)
    assert silent["frechet_distance"] > 100 * same["frechet_distance_training"]
    assert np.isnan(silent["copy_rate"])


@pytest.fixture
def folder(tmp_path):
    """A run that is a VAE of piano rolls (which has no tokens to be taught with), and has learned nothing."""
    plan = build_plan(vae_experiment(), SPEC)
    layout.write_config(tmp_path / "run", plan.config)
    with Checkpoints(tmp_path / "run" / layout.CHECKPOINTS) as checkpoints:
        checkpoints.save(1, initial_state(plan).replace(step=np.asarray(1, np.int32)), 0.0)
    return tmp_path / "run"


@pytest.fixture
def measured(folder, tmp_path, monkeypatch, quick_runs):
    """`measured(words)`: the numbers of the command, on random music."""
    sources = {split: ArraySource(SPEC, {"x": music(i) * np.uint8(255)}) for i, split in enumerate(("test", None))}
    monkeypatch.setattr("genjax_art.build.build_source", lambda experiment, split=None: sources[split])

    def numbers(*words):
        out = tmp_path / "numbers.json"
        assert evaluate.evaluate([str(folder), "--n", "5", *words, "--json", str(out)]) == 0
        return json.loads(out.read_text())

    return numbers


def test_the_numbers_of_a_run(measured, capsys):
    numbers, said = measured(), capsys.readouterr().out
    assert numbers["measures"] == len(numbers["bands"]) == 17
    assert numbers["inside"] == sum(band["inside"] for band in numbers["bands"].values())
    assert f"{numbers['inside']} of 17 inside" in said
    for name in ("frechet_distance", "frechet_distance_training", "copy_rate", "active_units", "kl_nats"):
        assert name in said and numbers[name] >= 0
    assert numbers["latents"] == 3 and "note_accuracy_teacher_forced" not in numbers


def measure(subject):
    """A measure from outside: how many samples there are."""
    return {"count": len(subject.made)}


def test_measures_are_chosen_by_name(measured):
    numbers = measured("--metrics", "sliced_wasserstein", "test_music_report:measure")
    assert numbers["sliced_wasserstein"] > 0 < numbers["sliced_wasserstein_training"] and numbers["count"] == 5
    assert "bands" not in numbers
    with pytest.raises(UsageError, match=r"unknown measure 'beauty'; known: .*music_report.* sliced_wasserstein"):
        measured("--metrics", "beauty")
    with pytest.raises(UsageError, match="--n must be at least 2"):
        measured("--n", "1")
