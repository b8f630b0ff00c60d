"""What sees examples: own extractors, what they keep, and those from outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.data.contract import array_source
from genjax_art.errors import RunError, UsageError
from genjax_art.features.extractor import Extractor, build_extractor, usual_extractor
from genjax_art.features.kept import kept
from genjax_art.features.network import shifts, worn
from genjax_art.features.own_contrastive import contrast
from genjax_art.features.pixels_pca64 import reduced
from genjax_art.media.image_views import alike


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))


def stripes(n: int, seed: int):
    """Lying and standing stripes of any phase, in noise: two classes that no mean of pixels tells apart."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    wave = 0.8 * np.sin(np.arange(12)[None] * np.pi / 2 + rng.uniform(0, 6.28, (n, 1)))
    x = np.where(label[:, None, None] == 1, wave[:, :, None], wave[:, None, :]) + rng.normal(0, 0.05, (n, 12, 12))
    return array_source(np.clip(x, -1, 1).astype(np.float32)[..., None], label, classes=("lying", "standing"))


def test_a_classifier_tells_the_classes_and_is_kept(tmp_path, monkeypatch):
    known, held = stripes(200, 0), stripes(60, 1)
    extractor = build_extractor("own-classifier", known, held, steps=25)
    assert extractor.accuracy == 1.0 and extractor.figure("FD") == "FD-own"
    found = extractor.of(held.take(np.arange(60))["x"])
    assert found["features"].shape == (60, 96) and found["logits"].shape == (60, 2)

    rows = held.take(np.arange(60))
    around = sum(np.roll(rows["x"], at, axis) for at in (-1, 1) for axis in (1, 2))
    blurred = extractor.of((0.4 * rows["x"] + 0.15 * around).astype(np.float32))["logits"].argmax(1)
    assert np.mean(blurred == rows["label"]) > 0.95  # a class is not in the edges

    def fails(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("genjax_art.features.own_classifier.train", fails)
    again = build_extractor("own_classifier", stripes(200, 0), held, steps=25)
    assert again.digest == extractor.digest
    with pytest.raises(AssertionError, match="trained again"):  # other data of the same name and number
        build_extractor("own_classifier", stripes(200, 2), held, steps=25)
    (file,) = (tmp_path / "cache" / "features").glob("own-classifier-*.npz")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AssertionError, match="trained again"):  # a damaged file is not trusted
        build_extractor("own_classifier", known, held, steps=25)


def test_contrastive_features_tell_what_was_never_named():
    known, held = stripes(200, 0), stripes(60, 1)
    extractor = build_extractor("own-contrastive", known, held, steps=15)
    rows, labels = extractor.of(held.take(np.arange(60))["x"])["features"], held.take(np.arange(60))["label"]
    near = np.sum((rows[:, None] - rows[None]) ** 2, -1) + np.diag(np.full(60, np.inf))
    assert np.mean(labels[near.argmin(1)] == labels) > 0.9


def test_the_contrastive_loss_is_what_its_equation_says():
    out = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    unit = out / np.linalg.norm(out, axis=1, keepdims=True)
    scores = np.exp(unit.astype(np.float64) @ unit.T / 0.2)
    terms = [-np.log(scores[i, (i + 3) % 6] / (scores[i].sum() - scores[i, i])) for i in range(6)]
    assert float(contrast(jnp.asarray(out))) == pytest.approx(np.mean(terms), rel=1e-5)
    assert np.isfinite(float(contrast(jnp.zeros((4, 2))))) and np.isfinite(float(contrast(jnp.full((4, 2), 1e18))))


def test_pca_finds_the_directions_and_their_spread():
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(size=(400, 1, 1, 70)) * np.linspace(0.2, 0.01, 70), -1, 1).astype(np.float32)
    source = array_source(x)
    found = build_extractor("pixels-pca64", source, source).of(x)["features"]
    values = np.linalg.eigvalsh(np.cov(x.reshape(400, -1).astype(np.float64).T, ddof=0))[::-1][:64]
    np.testing.assert_allclose(found.astype(np.float64).var(0), values, rtol=1e-3)
    assert reduced((64, 64, 3)) == (32, 32, 3) and reduced((2,)) == (2,) and reduced((64, 84, 4))[2] == 4


def test_views_of_a_picture_stay_in_place_and_differ():
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 16, 12, 3)).astype(np.float32))
    for view in (alike, shifts, worn):
        one, other = (view(x, jax.random.key(seed)) for seed in (0, 1))
        assert one.shape == x.shape and np.isfinite(one).all() and not np.allclose(one, other)
    flat = jnp.broadcast_to(jnp.arange(4.0)[:, None, None, None] / 4, (4, 9, 9, 1))
    np.testing.assert_array_equal(shifts(flat, jax.random.key(0)), flat)  # edges go on
    found = worn(flat, jax.random.key(0))
    np.testing.assert_allclose(jnp.mean(found, (1, 2, 3)), flat[:, 0, 0, 0], atol=0.1)  # as bright, at the edges, too
    assert np.all(jnp.std(found, (1, 2, 3)) < 0.25)
    shown = alike(flat, jax.random.key(0))
    np.testing.assert_allclose(jnp.std(shown, (1, 2, 3)), 0, atol=1e-6)  # no border comes in


def test_what_is_usual_depends_on_labels_and_space():
    labelled, points = stripes(4, 0), array_source(np.zeros((3, 2), np.float32))
    plain = array_source(np.zeros((3, 8, 8, 1), np.uint8))
    assert [usual_extractor(s) for s in (labelled, plain, points)] == [
        "own_classifier",
        "own_contrastive",
        "pixels_pca64",
    ]
    with pytest.raises(RunError, match=r"needs data with labels.*own-contrastive"):
        build_extractor("own-classifier", plain, plain)
    with pytest.raises(UsageError, match=r"points.*pixels-pca64"):
        build_extractor("own-contrastive", points, points)
    with pytest.raises(UsageError, match=r"feature extractor 'own_clasifier'.*own_classifier"):
        build_extractor("own-clasifier", plain, plain)


def test_an_extractor_gives_finite_vectors_or_is_named():
    source = array_source(np.zeros((3, 2), np.float32))

    def nothing(apply):
        return Extractor("mine", 1, "as it is", apply, {})

    with pytest.raises(UsageError, match=r"mine gives features of shape \(3, 2\).*not finite"):
        nothing(lambda x: {"features": x / 0}).of(source.take(np.arange(3))["x"])
    weights = {"a": np.ones(2)}
    one, other = (Extractor("mine", version, "r", lambda x: {"features": x}, weights) for version in (1, 2))
    assert one.digest != other.digest != Extractor("mine", 2, "s", lambda x: {"features": x}, weights).digest


def test_arrays_are_kept_by_content(tmp_path):
    source, calls = array_source(np.zeros((3, 2), np.float32)), []

    def make():
        calls.append(1)
        return {"a/b": np.arange(3)}

    for words in ([1], [1], [2]):
        np.testing.assert_array_equal(kept("x", words, source, make)["a/b"], np.arange(3))
    assert len(calls) == 2
    kept("x", [1], array_source(np.ones((3, 2), np.float32)), make)
    assert len(calls) == 3


MINE = '''
from genjax_art.features.extractor import Extractor


def build(known, held, *, times: float = 2.0):
    """Args:
      times: factor.
    """
    return Extractor("mine", 1, "as they are", lambda x: {"features": x * times}, {})


def wrong(known, held):
    return None
'''


def test_an_extractor_of_ones_own_has_options(tmp_path, monkeypatch):
    (tmp_path / "my_eyes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    source = array_source(np.full((3, 2), 0.5, np.float32))
    extractor = build_extractor("my_eyes:build", source, source, times=3.0)
    np.testing.assert_allclose(extractor.of(source.take(np.arange(3))["x"])["features"], 1.5)
    with pytest.raises(UsageError, match=r"option of feature extractor my_eyes:build 'time'.*times"):
        build_extractor("my_eyes:build", source, source, time=3.0)
    with pytest.raises(UsageError, match="must return an Extractor, not a NoneType"):
        build_extractor("my_eyes:wrong", source, source)


@pytest.mark.parametrize("name", ["scattering", "own_classifier", "own_contrastive"])
def test_a_gpu_makes_its_products_of_whole_float32_numbers(name):
    """Else features of a GPU would be other numbers than those of a CPU that are kept beside them."""
    known = stripes(20, 0)
    options = {} if name == "scattering" else {"steps": 1}
    extractor = build_extractor(name, known, stripes(10, 1), **options)
    traced = jax.jit(extractor.step).trace(jnp.zeros((2, 12, 12, 1)))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    products = [line for line in text.splitlines() if "stablehlo.convolution" in line or "dot_general" in line]
    assert products
    assert all(line.count("HIGHEST") == 2 for line in products)
