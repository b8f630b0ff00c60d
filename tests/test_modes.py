"""Mixtures, mode coverage and collapse signals against counts by hand and closed forms; pictures of points."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.benchmark import mixture_1200
from genjax_art.benchmark.mixture_modes import lines, summary
from genjax_art.benchmark.modes import main
from genjax_art.data.contract import DataError
from genjax_art.data.open import open_source
from genjax_art.data.sets import grid25, mixture1200, ring8
from genjax_art.errors import UsageError
from genjax_art.media.medium import write
from genjax_art.media.points import sheet
from genjax_art.metrics.collapse import collapse
from genjax_art.metrics.modes import CEILING_2D, Coverage, divergence, mode_coverage
from genjax_art.spec import ArraySpec
from genjax_art.train.watch import DUPLICATES, PATIENCE, SPREAD, collapse_watch

MIXTURES = {"ring8": ring8.mixture, "grid25": grid25.mixture, "mixture1200": mixture1200.mixture}


def test_samples_count_for_their_nearest_mode_within_the_radius():
    centres = np.array([[0.0, 0], [1, 0], [0, 1]], np.float32)
    samples = np.array([[0, 0], [0.1, 0], [0.2, 0.3], [1, 0.05], [5, 5]], np.float32)
    found = mode_coverage(samples, centres, radius=0.11)
    np.testing.assert_array_equal(found.counts, [2, 1, 0])
    assert found.modes == 2
    assert found.high_quality == pytest.approx(3 / 5)
    assert found.reverse_kl == pytest.approx(2 / 3 * math.log(2) + 1 / 3 * math.log(1))


def test_divergence_of_equal_and_of_single_modes():
    assert divergence(np.array([7, 7, 7])) == pytest.approx(0)
    assert divergence(np.array([0, 9, 0, 0])) == pytest.approx(math.log(4))
    assert math.isnan(divergence(np.zeros(3, int)))


@pytest.mark.parametrize("name", ["ring8", "grid25"])
def test_the_data_reach_the_ceiling_and_narrower_modes_are_flagged(name):
    mixture, source = MIXTURES[name](), open_source(name)
    x = source.take(np.arange(20_000))["x"]
    found = mode_coverage(x, mixture.centres, 3 * mixture.sd)
    assert found.modes == len(mixture.centres) == {"ring8": 8, "grid25": 25}[name]
    assert found.high_quality == pytest.approx(CEILING_2D, abs=3 * math.sqrt(CEILING_2D * (1 - CEILING_2D) / 20_000))
    assert not found.is_narrow()
    shrunk = mixture.centres[source.take(np.arange(20_000))["label"]] + 0.9 * (
        x - mixture.centres[source.take(np.arange(20_000))["label"]]
    )
    assert mode_coverage(shrunk, mixture.centres, 3 * mixture.sd).is_narrow()


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_a_mixture_opens_by_name_with_the_moments_of_its_definition(name):
    mixture, source = MIXTURES[name](), open_source(name)
    rows = source.take(np.arange(len(source)))
    x, label = rows["x"], rows["label"]
    assert source.spec.kind == "points" and not source.spec.bounded
    assert x.dtype == np.float32
    assert source.spec.low <= x.min() < x.max() <= source.spec.high
    first = x[label == 0]
    scale = np.full(x.shape[1], mixture.sd) if mixture.scales is None else mixture.scales[0]
    np.testing.assert_allclose(first.mean(0), mixture.centres[0], atol=6 * mixture.sd / math.sqrt(len(first)))
    np.testing.assert_allclose(first.std(0), scale, atol=6 * mixture.sd / math.sqrt(len(first)))


def test_splits_of_a_mixture_differ_and_repeat():
    train, again, test = (open_source("ring8", split=s).take(np.arange(9))["x"] for s in ("train", "train", "test"))
    np.testing.assert_array_equal(train, again)
    assert not np.any(train == test)


@pytest.mark.parametrize(("options", "kind"), [({"split": "all"}, DataError), ({"size": (8, 8)}, UsageError)])
def test_a_mixture_refuses_what_it_cannot_give(options, kind):
    with pytest.raises(kind, match="ring8"):
        open_source("ring8", **options)


def test_collapse_signals_of_equal_narrow_and_single_fakes():
    rng = np.random.default_rng(0)
    real = jnp.asarray(rng.standard_normal((512, 8)), jnp.float32)
    other = jnp.asarray(rng.standard_normal((512, 8)), jnp.float32)
    same = collapse(real, other)
    assert float(same["feature_spread"]) == pytest.approx(1, abs=0.1)
    assert float(same["duplicates"]) == 0
    assert float(collapse(real, 0.25 * other + 3)["feature_spread"]) == pytest.approx(0.25, abs=0.03)
    single = collapse(real, jnp.ones_like(real))
    assert float(single["feature_spread"]) == 0
    assert float(single["duplicates"]) == 1


POINTS = ArraySpec((2,), -1.0, 1.0, "points", bounded=False)


def test_a_point_is_drawn_where_it_lies(tmp_path):
    picture = sheet(np.array([[-1, -1], [0.5, 0.5], [np.nan, 0], [9, 0]], np.float32), POINTS)
    side = picture.shape[0]
    dark = np.argwhere(picture[..., 0] < 255)
    for row, column in ((side - 1, 0), (side // 4 - 1, 3 * side // 4), (side // 2 - 1, side - 1)):
        assert np.abs(dark - [row, column]).max(1).min() <= 1
    assert len(dark) <= 3 * 9
    one = sheet(np.zeros((1, 1), np.float32), ArraySpec((1,), -1.0, 1.0, "points", bounded=False))
    assert one.min() < 255


def test_points_are_written_as_the_ending_asks(tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    (png,) = write(tmp_path / "a.png", x, POINTS, {"step": "3"})
    assert png.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="unknown ending"):
        write(tmp_path / "a.gif", x, POINTS, {})


def test_a_collapse_is_said_once_and_again_after_a_recovery():
    warnings = []
    look = collapse_watch(warnings.append)
    narrow, twins, fine = (
        {f"frames/{SPREAD}": spread, f"frames/{DUPLICATES}": twins, f"clips/{SPREAD}": 1.0, f"clips/{DUPLICATES}": 0.0}
        for spread, twins in ((0.05, 0.0), (1.0, 0.9), (1.0, 0.1))
    )
    look(0, {"vae/loss": 1.0})
    for step in range(PATIENCE - 1):
        look(step, narrow)
    look(9, fine)
    assert warnings == []
    for step in range(3 * PATIENCE):
        look(step, narrow)
    assert len(warnings) == 1
    assert "\n" not in warnings[0]
    look(50, fine)
    for step in range(PATIENCE):
        look(step, twins)
    assert len(warnings) == 2
    assert "90%" in warnings[1]


def test_in_many_dimensions_data_pass_the_rule_that_counts_their_shell_and_fail_veegans():
    mixture = MIXTURES["mixture1200"]()
    x, label = mixture.draw(np.random.default_rng(0), 2500)
    row = mixture_1200.judged([x])
    assert (row["published_modes"], row["published_high_quality"]) == (0, 0)
    assert row["faithful_modes"] == 10
    assert row["faithful_high_quality"] == pytest.approx(0.997, abs=0.004)
    assert row["by_seed"][0]["along"] == pytest.approx(math.sqrt(699.5), abs=0.1)
    assert row["by_seed"][0]["beside"] == 0
    text = "\n".join(mixture_1200.lines({"name": "mixture1200", "seeds": 1, "seconds": 1.0, **row}))
    assert "modes 10.0/10" in text and "VEEGAN   modes 5.5" in text
    shrunk = mixture.centres[label] + 0.8 * (x - mixture.centres[label])
    beside = x + 0.2 * (mixture.scales[label] == 0)
    for samples in (shrunk, beside, mixture.centres, np.broadcast_to(mixture.centres.mean(0), x.shape)):
        assert mixture_1200.judged([samples])["faithful_modes"] == 0
    by_their_rule = mixture_1200.judged([mixture.centres[label]])
    assert (by_their_rule["published_modes"], by_their_rule["published_high_quality"]) == (10, 1)


def test_a_row_of_the_benchmark_tells_the_worst_and_the_too_narrow():
    all_modes, one_lost = Coverage(np.full(8, 309), 2500), Coverage(np.array([0] + [350] * 7), 2500)
    row = summary("ring8", [all_modes, one_lost])
    assert row["modes"] == 7.5
    assert row["runs_with_all_modes"] == 1
    assert row["high_quality_worst"] == pytest.approx(350 * 7 / 2500)
    assert row["high_quality_sd"] == pytest.approx(abs(309 * 8 - 350 * 7) / 2500 / math.sqrt(2))
    assert row["narrow_runs"] == 0
    narrow = summary("ring8", [Coverage(np.full(8, 312), 2500)])
    assert narrow["narrow_runs"] == 1
    text = "\n".join(lines(narrow | {"seconds": 1.0}))
    assert "under-dispersed: 1" in text
    assert "VEEGAN" in text and "52.9%" in text
    with pytest.raises(UsageError, match=r"unknown row 'ring9'.*grid25.*stacked-mnist-r1"):
        main(["--only", "ring9"])
