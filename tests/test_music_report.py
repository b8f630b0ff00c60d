"""The numbers of a music run, on a method whose answers are known."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from small import noise, vae_experiment

from genjax_art import evaluate, music_report, notes
from genjax_art.build import build_plan
from genjax_art.data.arrays import ArraySource
from genjax_art.errors import RunError
from genjax_art.objectives.method import Method
from genjax_art.spec import ArraySpec
from genjax_art.training import run

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

    def encode(params, x, label):
        return x.reshape(len(x), -1), jnp.zeros((len(x), SIZE))

    def generate(params, extras, z, label):
        there = jnp.all(z == TOLD[-1].reshape(1, -1), -1, keepdims=True) & back
        z = jnp.where(there, TOLD[0].reshape(1, -1), z)
        return jnp.roll(z.reshape(-1, *SPEC.shape), late, 1)

    def token_logits(params, z, x):
        tokens = np.stack([notes.tokens_from_roll(piece) for piece in music(0)])
        return jnp.eye(notes.TOKENS)[np.where(tokens < notes.PITCHES, tokens - shift, tokens)]

    return Method((), lambda key: ({}, {}), generate, "vae", SIZE, encode=encode, token_logits=token_logits)


TOLD = in_range(music(0))


def test_a_perfect_autoencoder_scores_one():
    numbers = music_report.latent_report(method_of(), {}, {}, TOLD, SPEC)
    assert numbers["note_accuracy_free"] == numbers["note_accuracy_teacher_forced"] == 1.0
    assert numbers["pitch_accuracy_free"] == 1.0
    assert numbers["kl_nats"] == pytest.approx(0.5 * SIZE)  # |mu|^2 / 2: every entry is -1 or 1
    assert numbers["latents"] == SIZE
    assert numbers["active_units"] == (TOLD.reshape(6, -1).var(0) > 0.01).sum() < SIZE


def test_free_running_and_teacher_forced_accuracy_are_told_apart():
    late = music_report.latent_report(method_of(late=1), {}, {}, TOLD, SPEC)
    assert late["note_accuracy_teacher_forced"] == 1.0 and late["note_accuracy_free"] < 0.2
    low = music_report.latent_report(method_of(shift=1), {}, {}, TOLD, SPEC)
    assert low["note_accuracy_teacher_forced"] == 0.0 and low["note_accuracy_free"] == 1.0


def test_interpolations_are_measured_in_hamming_steps():
    pair = TOLD[[0, -1]].reshape(2, -1)
    numbers = music_report.interpolation_report(method_of(), {}, {}, pair, SPEC)
    steps = numbers["interpolation"]
    assert len(steps) == music_report.STEPS + 1 and steps[0] == 0.0 and np.all(np.diff(steps) >= 0)
    first, last = music_report.sounding(music(0)[[0, -1]])
    assert steps[-1] == pytest.approx((first != last).mean())
    assert numbers["interpolation_rising"] == 1.0
    back = music_report.interpolation_report(method_of(back=True), {}, {}, pair, SPEC)
    assert back["interpolation"][-1] == 0.0
    assert back["interpolation_rising"] == 1.0 - 1.0 / music_report.STEPS


def test_copies_and_distinct_clips_are_counted():
    rolls = music(0, 4)
    twice = np.concatenate([rolls[:2], rolls[:2]])
    _, numbers = music_report.sample_report(twice, rolls, None, rolls[:1])
    assert numbers["distinct"] == 0.5 and numbers["copy_rate"] == 0.5 and numbers["copy_rate_heldout"] == 0.25


def test_frechet_distances_stand_side_by_side():
    heldout, training = music(0, 30), music(1, 90)
    _, same = music_report.sample_report(heldout, heldout, None, training)
    assert 0 <= same["frechet_distance"] < 1e-9 < same["frechet_distance_training"]
    _, swapped = music_report.sample_report(training[::3], heldout, None, heldout)
    assert 0 <= swapped["frechet_distance_training"] < 1e-9 < swapped["frechet_distance"]
    _, silent = music_report.sample_report(0 * heldout, heldout, None, training)
    assert silent["frechet_distance"] > 100 * same["frechet_distance_training"]
    assert np.isnan(silent["copy_rate"])


def test_the_numbers_of_a_run(quick_runs, tmp_path, monkeypatch, capsys):
    """Through the command, on a trained run of a VAE of piano rolls (which has no tokens to be taught with)."""
    sources = {split: ArraySource(SPEC, {"x": music(i) * np.uint8(255)}) for i, split in enumerate(("test", None))}
    monkeypatch.setattr(evaluate, "build_source", lambda experiment, split=None: sources[split])
    trained(tmp_path / "music", sources[None])
    out = tmp_path / "numbers.json"
    assert evaluate.evaluate([str(tmp_path / "music"), "--n", "5", "--json", str(out)]) == 0
    numbers, said = json.loads(out.read_text()), capsys.readouterr().out
    assert (numbers["step"], numbers["parameters"]) == ("1", "ema")
    assert numbers["measures"] == len(numbers["bands"]) == 17
    assert numbers["inside"] == sum(band["inside"] for band in numbers["bands"].values())
    assert f"{numbers['inside']} of 17 inside" in said
    for name in ("frechet_distance", "frechet_distance_training", "copy_rate", "active_units", "kl_nats"):
        assert name in said and numbers[name] >= 0
    assert numbers["latents"] == 3 and "note_accuracy_teacher_forced" not in numbers


def test_a_run_on_pictures_is_refused(quick_runs, tmp_path):
    trained(tmp_path / "pictures", noise(ArraySpec((4, 4, 1))))
    with pytest.raises(RunError, match="kind image"):
        evaluate.evaluate([str(tmp_path / "pictures")])


def trained(folder, source):
    """A run folder after one step."""
    plan = build_plan(dataclasses.replace(vae_experiment(), steps=1), source.spec)
    assert run(plan, source, folder, how="jit") == 0
