"""Measures of clips: those that see motion put what is wrong in time last, and say so; what others find is exact."""

import dataclasses
import importlib
import json
from types import SimpleNamespace

import clips
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small import vae_experiment

from genjax_art import evaluate
from genjax_art.build import build_plan
from genjax_art.config import with_run
from genjax_art.data.contract import array_source
from genjax_art.errors import UsageError
from genjax_art.features.extractor import Extractor, build_extractor, usual_extractor
from genjax_art.features.seeing import see
from genjax_art.media.medium import find_medium
from genjax_art.metrics import (
    clip_distance,
    clip_prediction,
    clip_reconstruction,
    content_consistency,
    content_swap,
    motion_accuracy,
)
from genjax_art.metrics.clip_controls import controls, frozen, shuffled
from genjax_art.metrics.content_consistency import content_distance, shown_colour
from genjax_art.metrics.subject import Subject
from genjax_art.run.training import run as train_run

KNOWN, HELD = clips.source(480, 0), clips.source(300, 1)
SPEC = KNOWN.spec
BUILT = {}  # extractors of these data, each trained once


def own(name):
    if name == "own_frames":
        return mean_colours()
    if name not in BUILT:
        BUILT[name] = build_extractor(name, KNOWN, HELD, steps=60)
    return BUILT[name]


def mean_colours():
    """In the place of trained features of frames."""
    return Extractor(
        "mean-colours", 1, "as they are", lambda x: {"features": x.mean((2, 3)).reshape(len(x), -1) + 1}, {}
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))


def run(classes=(), encode=None, decode=None, abilities=None, draw=None):
    method = SimpleNamespace(classes=classes, encode=encode, abilities=abilities or {})
    return SimpleNamespace(
        method=method,
        weights=None,
        labels=lambda n, seed=0: None,
        encode=encode,
        decode=decode,
        draw=draw or (lambda key, n, labels=None: np.zeros((n, 2))),
        experiment=SimpleNamespace(objective=SimpleNamespace(options={"likelihood": "gaussian"})),
        apply=lambda name, *arrays: abilities[name](None, *arrays),
    )


def subject(made, of=None, eyes=None):
    def look():
        return see(eyes or own("own_clips"), made, HELD, KNOWN, clips.in_range)

    return Subject(KNOWN.spec, made, HELD, KNOWN, clips.in_range, of or run(), look, own)


def moderately_good(n=300):
    """Fresh clips of the data with errors of a model: a frame in four is a pixel off, and all are a little noisy."""
    rng = np.random.default_rng(5)
    x = clips.in_range(clips.source(n, 2).arrays["x"])
    for clip in x:
        for t in np.nonzero(rng.random(len(clip)) < 0.25)[0]:
            clip[t] = np.roll(clip[t], rng.integers(-1, 2, 2), (0, 1))
    return np.clip(x + rng.normal(0, 0.05, x.shape), -1, 1).astype(np.float32)


# Controls


def test_controls_are_wrong_in_time_only():
    x = clips.in_range(HELD.arrays["x"][:40])
    np.testing.assert_array_equal(frozen(x), np.broadcast_to(x[:, :1], x.shape))
    mixed, short = shuffled(x, 3), shuffled(x[:, :2])
    np.testing.assert_array_equal(short, x[:, 1::-1])  # never their own order
    for clip, other in zip(x, mixed, strict=True):
        assert sorted(f.tobytes() for f in clip) == sorted(f.tobytes() for f in other)
    np.testing.assert_array_equal(mixed, shuffled(x, 3))
    assert set(controls(x)) == {"frozen", "shuffled"}


def test_a_distance_of_clips_ranks_held_out_data_a_model_and_the_controls():
    row = clip_distance.measure(subject(moderately_good()))["FD-own"]
    still, mixed = row.controls.values()
    assert row.real.high < row.samples.low and row.samples.high < min(still.low, mixed.low)
    assert row.light == "worse" and row.blind == ()
    assert "300, 480 clips of 4 frames, not 2048, 2048 of 16" in row.samples.flags


def test_the_usual_extractor_of_clips_sees_time_and_tells_classes():
    assert usual_extractor(KNOWN) == "own_clips"
    eyes, x = own("own_clips"), clips.in_range(HELD.arrays["x"])
    found = eyes.of(x)
    assert found["logits"].shape == (300, 3) and found["motion_logits"].shape == (300, 2)
    assert eyes.accuracy > 0.95 and np.mean(found["motion_logits"].argmax(1) == HELD.arrays["motion"]) > 0.9
    pictures = array_source(np.zeros((4, 4, 4, 1), np.uint8))
    for name in ("own-clips", "own-frames"):
        with pytest.raises(UsageError, match="needs clips of two frames or more"):
            build_extractor(name, pictures, pictures)


def test_the_name_fvd_is_that_of_the_users_extractor(monkeypatch):
    """It brings clips to the frames and size that it needs; its controls are measured as well."""
    monkeypatch.syspath_prepend("tests/plugins")
    importlib.import_module("little_i3d")
    eyes = build_extractor("little_i3d:extractor", KNOWN, HELD)
    row = clip_distance.measure(subject(moderately_good(), eyes=eyes))["FVD"]
    assert row.samples.metric == "FVD" and "10 frames, 12x12" in row.samples.resize
    assert row.samples.extractor == eyes.digest and row.controls["frozen"].low > row.real.high
    assert build_extractor("little_i3d:extractor", KNOWN, HELD, frames=4, side=9).digest != eyes.digest


# Content


def test_a_content_distance_is_the_mean_over_all_pairs_of_frames():
    vectors = np.asarray([[[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], [[1.0, 1.0]] * 3])
    np.testing.assert_allclose(content_distance(vectors), [10 / 3, 0])
    with pytest.raises(ValueError, match="two frames or more"):
        content_distance(vectors[:, :1])


def test_the_shown_colour_is_that_of_what_differs_from_the_ground():
    x = clips.in_range(HELD.arrays["x"][:3])
    expected = np.repeat(clips.COLOURS[:, None], clips.FRAMES, 1)
    np.testing.assert_allclose(shown_colour(x, SPEC), expected, atol=1e-3)
    x[0, 1] = 0.5  # nothing there
    np.testing.assert_allclose(shown_colour(x, SPEC)[0, 1], 191.25)


def test_acd_sees_a_content_that_changes_and_no_motion():
    found = content_consistency.measure(subject(moderately_good()))
    for name in ("ACD-colour", "ACD-own"):
        row = found[name]
        still, mixed, halves = row.controls.values()
        assert still.value == pytest.approx(0, abs=1e-4)
        assert mixed.value == pytest.approx(row.real.value, abs=1e-4), "the order of frames does not count"
        assert halves.low > row.samples.high > row.real.value - 1e-9, name
    assert found["ACD_ratio"] > 1


@pytest.mark.thorough
def test_trained_features_of_frames_are_alike_within_a_clip():
    eyes, x = build_extractor("own_frames", KNOWN, HELD, steps=30), clips.in_range(HELD.arrays["x"])
    found = content_consistency.directions(eyes.of(x)["features"].reshape(len(x), clips.FRAMES, -1))
    within = content_distance(found).mean()
    first = found[:, 0]
    between = np.linalg.norm(first[:, None] - first[None], axis=-1).mean()
    assert within < 0.5 * between


# Motion


def test_motion_is_told_from_standing_still_and_asked_classes_are_found():
    found = motion_accuracy.measure(subject(clips.in_range(clips.source(300, 3).arrays["x"])))
    assert found["motion_entropy"].light == "good" and found["motion_classifier"] > 0.9
    only = clips.in_range(clips.source(240, 4).arrays["x"])[clips.source(240, 4).arrays["motion"] == 0]
    assert motion_accuracy.measure(subject(only))["motion_divergence"].samples.value > 0.5  # log 2 at most
    assert found["motion_divergence"].samples.value < 0.1 and "motion_accuracy" not in found


def test_of_a_conditional_run_the_class_asked_for_is_sought_in_samples(monkeypatch):
    monkeypatch.setattr(motion_accuracy, "motion_key", lambda subject: "label")
    made, asked = clips.source(300, 3).arrays["x"], clips.source(300, 3).arrays["label"]
    for labels, least, most in ((asked, 0.95, 1.0), ((asked + 1) % 3, 0.0, 0.05)):
        of = run(classes=SPEC.classes)
        of_clips = dataclasses.replace(subject(clips.in_range(made), of), asked=labels)
        row = motion_accuracy.measure(of_clips)["motion_accuracy"]
        assert least <= row.samples.value <= most and row.real.value > 0.95
        assert "shuffled" in row.blind  # the labels are colours, which do not need an order


# Swap


def factors(z):
    """A decoder in which content is the colour and motion the path."""
    label, motion = z["content"][:, 0].astype(int), z["motion"][:, 0, 0].astype(int)
    return clips.in_range(clips.draw(label, clips.paths(motion, z["motion"][:, 1, 0])))


def latents(x_rows):
    motion = np.zeros((len(x_rows["label"]), clips.FRAMES, 1))
    motion[:, 0, 0], motion[:, 1, 0] = x_rows["motion"], np.arange(len(motion)) % 8 / 8
    return {"content": x_rows["label"][:, None], "motion": motion}


@pytest.mark.parametrize("encoded", [True, False])
def test_a_swap_keeps_content_and_takes_motion(encoded):
    rows = HELD.take(np.arange(len(HELD)))

    def draw(key, n, labels=None):
        return latents({name: array[:n] for name, array in rows.items()})

    def entangled(z):
        return factors({"content": z["motion"][:, 0] * 0 + z["content"][::-1], "motion": z["motion"]})

    encode = (lambda x, labels: latents(rows)) if encoded else None
    clean = run(encode=encode, decode=lambda z, labels: factors(z), draw=draw)
    found = content_swap.measure(subject(clips.in_range(rows["x"]), clean))
    for name in ("content_swap", "motion_swap"):
        assert found[name].samples.value > 0.9 and found[name].real.value > 0.9, name
        assert found[name].samples.n_fake < len(HELD)  # pairs of one class are no test
    assert ("label_reconstructed" in found) == encoded
    still = run(encode=encode, decode=lambda z, labels: frozen(factors(z)), draw=draw)
    assert content_swap.measure(subject(clips.in_range(rows["x"]), still))["content_swap"].samples.value > 0.9
    lost = run(encode=encode, decode=lambda z, labels: entangled(z), draw=draw)
    if encoded:
        assert content_swap.measure(subject(clips.in_range(rows["x"]), lost))["content_swap"].samples.value < 0.6
    assert content_swap.measure(subject(clips.in_range(rows["x"]))) == {}  # one array of latents


def test_partners_and_shares():
    other = content_swap.partners(7, 1)
    assert sorted(other) == list(range(7)) and not np.any(other == np.arange(7))
    of_content, of_motion = content_swap.shares(*map(np.asarray, ([0, 1, 2, 0], [0, 0, 0, 0], [0, 1, 1, 2])))
    assert of_content.tolist() == [False, False, True] and of_motion.tolist() == [True, False, False]


# Reconstruction and prediction


LARGER = clips.source(20, 1, 6, 12)  # SSIM needs 11 pixels


def larger(of):
    x = clips.in_range(LARGER.arrays["x"])
    return Subject(LARGER.spec, x, LARGER, LARGER, clips.in_range, of)


def test_reconstructions_are_measured_beside_the_controls():
    def bound(weights, x, labels, keys):
        n = np.arange(len(x), dtype=np.float64)
        return {"elbo": -6.0 * (n + 1), "kl_content": 0 * n + 3.0}

    of = run(encode=lambda x, labels: x, decode=lambda z, labels: z + np.float32(0.02), abilities={"bound": bound})
    found = clip_reconstruction.measure(larger(of), clips=5)
    assert found["PSNR"].samples.value == pytest.approx(40, abs=1e-3) and found["SSIM"].samples.value > 0.95
    for name in ("PSNR", "SSIM"):
        assert max(record.value for record in found[name].controls.values()) < found[name].samples.value
    assert found["nats_per_frame"].samples.value == pytest.approx(3.0) and found["kl_content_per_frame"] == 0.5
    assert found["likelihood"] == "gaussian" and clip_reconstruction.measure(larger(run())) == {}
    small = clip_reconstruction.measure(subject(moderately_good(), of), clips=5)
    assert "PSNR" in small and "SSIM" not in small


def test_a_prediction_is_measured_beside_standing_still():
    def proceed(weights, x, given, key):
        return jnp.asarray(x).at[:, given:].set(0.0)

    found = clip_prediction.measure(larger(run(abilities={"proceed": proceed})))
    after = clips.in_range(LARGER.arrays["x"])[:, 3:].astype(np.float64)
    errors = np.sum((after / 2) ** 2, (2, 3, 4))  # values of 0 to 1, summed over a frame
    assert found["prediction_MSE"].samples.value == pytest.approx(errors.mean())
    still = clips.in_range(LARGER.arrays["x"])[:, 2:3]
    copied = np.sum(((after - still) / 2) ** 2, (2, 3, 4)).mean()
    assert found["prediction_MSE"].controls["last frame"].value == pytest.approx(copied)
    assert set(found["prediction_SSIM"].controls) == {"last frame", "given ones shuffled"}
    assert found["prediction_SSIM"].samples.value < 0.5 and clip_prediction.measure(larger(run())) == {}


# A run


def test_a_run_on_clips_is_judged_with_controls_and_contact_sheets(tmp_path, monkeypatch, capsys):
    plan = build_plan(with_run(vae_experiment(), steps=2, sample_every=0), SPEC)
    train_run(plan, KNOWN, tmp_path / "run", how="jit", resume=False)
    monkeypatch.setattr("genjax_art.build.build_source", lambda experiment, split=None: HELD if split else KNOWN)
    monkeypatch.setattr("genjax_art.evaluate.judged.build_extractor", lambda name, known, held: own(name))
    measures = ["clip_distance", "content_consistency", "motion_accuracy", "content_swap", "clip_reconstruction"]
    measures += ["clip_prediction", "classes"]
    assert set(measures) < set(find_medium("clip").metrics)
    assert evaluate.evaluate([str(tmp_path / "run"), "--n", "40", "--metrics", *measures]) == 0
    printed, found = capsys.readouterr().out, tmp_path / "run" / "evaluation"
    results = json.loads((found / "results.json").read_text())
    assert "controls: frozen" in printed and "shuffled" in printed and "ACD_ratio" in printed
    for name in ("FD-own", "ACD-colour", "motion_entropy", "PSNR"):
        assert set(results[name]["controls"]) >= {"frozen", "shuffled"}, name
    assert results["FD-own"]["controls"]["frozen"]["value"] > results["FD-own"]["held-out"]["value"]
    assert results["n"] == 40 and "controls: frozen" in (found / "page.html").read_text()
    with Image.open(found / "neighbours.png") as near, Image.open(found / "samples.png") as samples:
        assert near.width == samples.width  # clips below one another, a row of frames each
