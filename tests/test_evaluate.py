"""A run is judged: figures beside held-out data, runs that may be compared, a page that needs nothing else."""

import dataclasses
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from PIL import Image

from genjax_art import evaluate, sampling
from genjax_art.data.contract import array_source, synthetic_source
from genjax_art.errors import RunError, UsageError
from genjax_art.evaluate import judged
from genjax_art.evaluate.command import Judging
from genjax_art.evaluate.judged import Judged
from genjax_art.evaluate.page import plain
from genjax_art.evaluate.tables import comparable, print_rows, shown
from genjax_art.features.extractor import Extractor, usual_extractor
from genjax_art.features.seeing import see
from genjax_art.metrics import classes, copying, frechet, kernels, manifold, panel, vendi
from genjax_art.metrics.collapse_report import remedy, sensitivity, sign
from genjax_art.metrics.record import Record
from genjax_art.metrics.row import Figure, Row, of_mean
from genjax_art.metrics.subject import Subject


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))


# Measures by features


class Silent:
    """A run without classes."""

    def labels(self, n, seed=0, label=None):
        return None


def subject(fake, known, held, logits=None):
    def apply(x):
        return {"features": x} | ({} if logits is None else {"logits": x @ logits})

    labels = [(x[:, 0] > 0).astype(np.int32) if logits is not None else None for x in (known, held)]
    low, high = -1e9, 1e9
    known, held = (array_source(x, y, low=low, high=high) for x, y in zip((known, held), labels, strict=True))
    plain = Extractor("plain", 1, "as they are", apply, {})

    def look():
        return see(plain, fake, held, known, lambda x: x)

    return Subject(known.spec, fake, held, known, lambda x: x, Silent(), look)


def normal(seed, n=300, shift=0.0, d=4):
    return np.random.default_rng(seed).normal(shift, 1, (n, d)).astype(np.float32)


def test_rows_are_what_the_functions_give():
    known, held, fake = normal(0, 500), normal(1, 200), normal(2, 200, 0.5)
    seen = subject(fake, known, held)
    found = frechet.measure(seen) | kernels.measure(seen) | manifold.measure(seen) | vendi.measure(seen)
    found |= copying.measure(seen)
    three, five = manifold.overlaps(known, fake, (3, 5))
    expected = {
        "FD-own": frechet.frechet(known, fake).value,
        "KD-own": kernels.kid(known, fake).value,
        "precision": three.precision,
        "recall": three.recall,
        "density": five.density,
        "coverage": five.coverage,
        "Vendi": vendi.vendi(fake - known.astype(np.float64).mean(0)),
        "authentic": copying.authentic(known, fake).mean(),
        "copy_rate": copying.copy_rate(known, held, fake).rate,
        "C_T": copying.data_copying(known, held, fake).value,
    }
    for name, value in expected.items():
        row = found[name]
        assert row.samples.value == pytest.approx(value, rel=1e-5), name
        assert row.samples.low <= row.samples.value <= row.samples.high, name
        assert row.real.value != row.samples.value or name == "copy_rate"
        assert (row.samples.n_real, row.samples.n_fake, row.samples.extractor) == (500, 200, seen.seen.extractor.digest)
    assert frechet.frechet(known, held).value == pytest.approx(found["FD-own"].real.value)
    assert found["FD-own"].light == found["KD-own"].light == "worse"
    same = subject(normal(3, 200), known, held)
    assert {name: row.light for name, row in manifold.measure(same).items()} == dict.fromkeys(
        ("precision", "recall", "density", "coverage", "realism", "rarity"), "good"
    )


@pytest.mark.thorough
def test_an_interval_holds_what_other_samples_would_score():
    """In about 95 of 100 draws; of twenty at least sixteen."""
    known, held = normal(0, 400), normal(1, 200)
    rows = [manifold.measure(subject(normal(10 + i, 200), known, held))["precision"].samples for i in range(20)]
    middle = np.mean([row.value for row in rows])
    assert sum(row.low <= middle <= row.high for row in rows) >= 16


def test_classes_need_a_classifier():
    weights = np.zeros((4, 2), np.float32)
    weights[0] = -3, 3
    known, held, fake = normal(0, 300), normal(1, 200), np.abs(normal(2, 200))
    found = classes.measure(subject(fake, known, held, weights))
    assert found["modes"].samples.value == 1 and found["modes"].real.value == 2
    assert found["class_divergence"].samples.value == pytest.approx(-np.log(np.mean(known[:, 0] > 0)), abs=0.01)
    assert "class_accuracy" not in found  # the run is not conditional
    assert classes.measure(subject(fake, known, held)) == {}


def test_a_verdict_beside_few_examples_says_so():
    known = normal(0, 400)
    for n, said in ((99, True), (100, False)):
        found = panel.measure(subject(normal(2, n), known, normal(1, n)))["because"]
        assert (f"of {n} held-out examples" in found) == said
    assert "of 60 held-out" in panel.measure(subject(normal(2, 300), known, normal(1, 60)))["because"]


def test_few_features_are_flagged():
    known, held, fake = normal(0, 30, d=40), normal(1, 20, d=40), normal(2, 20, d=40)
    found = frechet.measure(subject(fake, known, held))
    assert found["FD-own"].samples.flags == ("rank-deficient",) and set(found) == {"FD-own"}
    with pytest.raises(RunError, match="more than 5 samples"):
        manifold.measure(subject(fake[:4], known, held))
    few = panel.measure(subject(fake[:8], known, held))
    assert np.isnan(few["panel"]["samples"]["copy_test"]) and few["verdict"]
    with pytest.raises(UsageError, match="looks at features"):
        dataclasses.replace(subject(fake, known, held), look=None).seen  # noqa: B018


def test_malformed_samples_are_rough_and_not_new():
    held = panel.Reading(0.0, 0.0, 1.0, 1.0, 1.3, 10.0, 0.0, 0.03)
    digits = panel.Reading(0.0, 4.4, 0.62, 0.69, 1.8, 10.7, 0.0, 0.14)  # of a short training: broken strokes
    assert panel.read(digits, held).words == ("rough",)
    assert panel.read(panel.Reading(0.0, 0.0, 0.9, 0.95, 1.3, 10.0, 0.0, 0.4), held).words == ("new",)


# Lights


def pair(value, low, high, better="high", real=(1.0, 0.9, 1.1)):
    def record(value, low, high):
        return Record("m", value, low, high, 10, 10, "e", "r")

    return Row(record(value, low, high), record(*real), better)


def test_a_light_is_of_intervals():
    assert pair(0.95, 0.85, 1.05).light == "good" and pair(0.8, 0.75, 0.85).light == "worse"
    assert pair(2.0, 1.9, 2.1).light == "good" and pair(2.0, 1.9, 2.1, "low").light == "worse"
    assert pair(2.0, 1.9, 2.1, "real").light == "worse" and pair(1.0, np.nan, np.nan).light == ""
    lights = [sign("m", pair(*numbers), 0.5).light for numbers in ((1.0, 0.9, 1.1), (0.7, 0.6, 0.8), (0.4, 0.3, 0.5))]
    assert lights == ["green", "yellow", "red"]
    twins = [sign("m", pair(v, v, v, "low", (0.0, 0.0, 0.0)), 0.2).light for v in (0.0, 0.1, 0.5)]
    assert twins == ["green", "yellow", "red"]


def test_the_remedy_is_of_the_signs():
    green = dict.fromkeys(("recall", "coverage", "Vendi", "modes", "duplicates", "sensitivity to z"), "green")
    assert remedy(green, "green", encoded=False) == "no sign of collapse"
    assert "beta" in remedy(green | {"sensitivity to z": "red"}, "green", encoded=True)
    assert "relativistic" in remedy(green | {"duplicates": "red"}, "green", encoded=False)
    assert "classes are missing" in remedy(green | {"modes": "red"}, "green", encoded=False)
    told = remedy(green | {"modes": "red"}, "green", encoded=False, conditional=True)
    assert "asked for are not found" in told and "--model.conditional" not in told
    assert "part of the data" in remedy(green | {"recall": "red"}, "green", encoded=False)
    assert "beside the data" in remedy(green | {"recall": "red"}, "red", encoded=False)


# The command


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.words, self.open = [], "", []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def read_page(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


def data(experiment, split=None):
    return synthetic_source(tiny_run.GREY, 60, 1 if split else 0)


def test_runs_are_judged_beside_one_another(copied, monkeypatch, capsys):
    monkeypatch.setattr("genjax_art.build.build_source", data)
    other = copied.with_name("<other>")
    other.symlink_to(copied, target_is_directory=True)
    out = copied.parent / "verdict"
    words = ["--features", "pixels-pca64", "--n", "40", "--out", str(out)]
    assert evaluate.evaluate([str(copied), str(other), *words]) == 0
    printed = capsys.readouterr().out
    assert "FD-own" in printed and "held-out data" in printed and "verdict" in printed
    results = json.loads((out / "results.json").read_text())
    assert [Path(one["run"]).name for one in results] == ["run", "<other>"]
    first = results[0]["FD-own"]
    assert first["samples"]["n_fake"] == 40 and first["held-out"]["value"] < first["samples"]["value"]
    assert results[0]["verdict"] and results[0]["remedy"] and results[0]["extractor"] == "pixels-pca64"
    page = read_page(out / "page.html")
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "<other>" in page.words and results[0]["verdict"] in page.words
    for name in ("samples-1.png", "held-2.png", "neighbours-1.png"):
        with Image.open(out / name) as image:
            image.load()
            assert image.text["extractor"] == "pixels-pca64"


def test_figures_that_cannot_be_compared_stand_apart():
    a, b = pair(1.0, 0.9, 1.1), pair(1.0, 0.9, 1.1)
    far = Row(Record("m", 1.0, 0.9, 1.1, 10, 20, "e", "r"), None, "low")
    measured = subject(normal(0), normal(1), normal(2))
    judged = [Judged(Path(name), {}, measured, {"m": row}, name) for name, row in (("a", a), ("far", far), ("b", b))]
    groups = comparable(judged)
    assert [[one.name for one in together] for together, _ in groups] == [["a", "b"], ["far"]]
    assert "n_fake (10 and 20)" in groups[1][1]


def test_runs_of_one_name_are_told_apart(capsys):
    """By as many folders as it takes; what rich would take for markup is shown as it is."""
    row, measured = pair(1.0, 0.9, 1.1), subject(normal(0), normal(1), normal(2))

    def names(*folders):
        found = [Judged(Path(folder), {}, measured, {"m": row}, Path(folder).name or ".") for folder in folders]
        told = judged.told_apart(found)
        print_rows(told)
        return [one.name for one in told]

    assert names("runs/a", "runs/b") == ["a", "b"]
    assert names("one/x/run", "two/x/run") == ["one/x/run", "two/x/run"]
    assert names("x", "x") == ["x", "x"]  # one and the same
    capsys.readouterr()
    assert names("run [b] [red]", ".") == ["run [b] [red]", "."]
    assert "run [b] [red]" in capsys.readouterr().out


def test_conditional_samples_have_the_labels_of_the_data_in_their_shares():
    """Whatever the seed; else a set of 9 cats and 1 dog would be far from samples that are as good as it."""
    label = np.repeat(np.arange(3, dtype=np.int32), [180, 19, 1])
    data = array_source(np.zeros((200, 2), np.float32), label, classes=("a", "b", "c"))
    run = SimpleNamespace(
        method=SimpleNamespace(classes=("a", "b", "c")), labels=lambda n, seed: np.arange(n, dtype=np.int32) % 3
    )
    letters = tuple("abcdefghijklmnopqrst")
    turns = array_source(np.zeros((2000, 2), np.float32), np.arange(2000, dtype=np.int32) % 20, classes=letters)
    counts = np.bincount(sampling.labels_like(turns, 1000, 0), minlength=20)
    assert counts.min() > 30 and counts.max() < 70  # equal steps would meet ten of them a hundred times each
    for n, expected in ((200, [180, 19, 1]), (20, [18, 1, 1]), (400, [360, 38, 2])):
        asked = [judged.asked_of(run, data, n, seed) for seed in (0, 1)]
        assert all(np.abs(np.bincount(one, minlength=3) - expected).max() <= 1 for one in asked)
        assert (asked[0] != asked[1]).any()
    run.method.classes = ("x", "y", "z")  # those of other data: there are no shares to take
    np.testing.assert_array_equal(np.bincount(judged.asked_of(run, data, 9, 0)), [3, 3, 3])


def test_of_few_examples_all_classes_that_are_seen_count():
    """Three of each of ten classes held out: samples of one class miss nine."""
    weights = 20 * np.eye(10, dtype=np.float32)
    held = np.repeat(np.eye(10, dtype=np.float32), 3, 0)
    row = classes.measure(subject(np.repeat(held[:1], 30, 0), held, held, weights))["modes"]
    assert (row.samples.value, row.real.value, row.light) == (1, 10, "worse")


def test_a_run_is_judged_by_the_labels_that_it_was_asked_for(monkeypatch):
    label = np.repeat(np.arange(2, dtype=np.int32), [45, 5])
    data, asked = array_source(np.zeros((50, 2), np.float32), label, classes=("a", "b")), []
    run = SimpleNamespace(
        spec=data.spec,
        experiment=SimpleNamespace(data=None),
        medium=SimpleNamespace(judged=1000, metrics=()),
        method=SimpleNamespace(classes=("a", "b")),
        about=lambda seed: {},
        sample=lambda n, seed, label: asked.append(label) or np.zeros((n, 2), np.float32),
    )
    for name, value in {
        "load.load_run": lambda *_, **__: run,
        "check_trusted": lambda *_: None,
        "moved": lambda experiment, given: experiment,
        "build.build_source": lambda experiment: data,
        "describe_change": lambda *_: "",
        "held_out": lambda *_: data,
    }.items():
        monkeypatch.setattr(f"genjax_art.evaluate.judged.{name}", value)
    one = judged.judge(Path("run"), Judging(n=100, seed=3), {"mine": lambda subject: {"asked": subject.asked}})
    assert one.subject.asked is asked[0] is one.found["asked"]
    assert np.bincount(asked[0]).tolist() == [90, 10]


def test_the_class_asked_for_is_found_by_the_labels_of_the_samples():
    """By those that the subject has, not by what a run would draw with another seed."""
    x, weights = normal(0), np.eye(4)[:, :2].astype(np.float32) * [[-9], [9], [9], [9]]
    of = subject(x, normal(1), normal(2), weights)
    label = (x @ weights).argmax(1).astype(np.int32)
    of = dataclasses.replace(of, spec=dataclasses.replace(of.spec, classes=("a", "b")), asked=label)
    of.run.method = SimpleNamespace(classes=("a", "b"))
    assert classes.measure(of)["class_accuracy"].samples.value == 1.0
    assert classes.measure(dataclasses.replace(of, asked=1 - label))["class_accuracy"].samples.value == 0.0


def test_a_class_that_is_hardly_seen_in_held_out_data_need_not_be_found():
    """One of two hundred: a hundred samples without it miss nothing, a thousand do."""
    weights = np.zeros((4, 2), np.float32)
    weights[0] = -9, 9
    x, rare = normal(0, 2200), normal(1, 11)
    x[:, 0], rare[:, 0] = -np.abs(x[:, 0]) - 0.1, np.abs(rare[:, 0]) + 0.1
    held = np.concatenate([x[:2189], rare])
    for n, real in ((100, 1), (1100, 2), (9, 1)):
        row = classes.measure(subject(x[:n], x, held, weights))["modes"]
        assert (row.samples.value, row.real.value) == (1, real)


def test_a_frontier_has_each_run_at_each_truncation(copied, monkeypatch, capsys):
    """Seen by the extractor that an evaluation takes, unless another one is named."""
    spec = dataclasses.replace(tiny_run.GREY, classes=("dark", "bright"))

    def styled(experiment, split=None):
        x = np.random.default_rng(len(split or "")).uniform(-1, 1, (60, *spec.shape)).astype(np.float32)
        return array_source(x, (x.mean((1, 2, 3)) > 0).astype(np.int32), classes=spec.classes)

    def extractor(name, known, held, **kept):
        taken.append(name)
        looks = {"flat": lambda x: {"features": x.reshape(len(x), -1)}}
        looks["styles"] = lambda x: {**looks["flat"](x), "logits": x.mean((1, 2, 3))[:, None] * np.float32([[-9, 9]])}
        return Extractor(name, 1, "as they are", looks["flat" if name == "blind" else "styles"], {})

    taken = []
    monkeypatch.setattr("genjax_art.build.build_source", styled)
    monkeypatch.setattr("genjax_art.evaluate.judged.build_extractor", extractor)
    monkeypatch.setattr("genjax_art.evaluate.frontier.prepare_process", lambda: None)
    assert evaluate.evaluate(["frontier", str(copied), "--truncations", "1", "0.5", "--n", "40"]) == 0
    assert taken == [usual_extractor(styled(None))]
    points = json.loads((copied / "evaluation" / "frontier.json").read_text())
    assert [point["truncation"] for point in points] == [None, 1.0, 0.5]
    for point in points:
        figure, held = point["style_entropy"], point["held-out"]["style_entropy"]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= np.log(2) + 1e-6 and held < np.log(2)
    with Image.open(copied / "evaluation" / "frontier.png") as plot:
        assert np.asarray(plot).std() > 0
    assert "held-out data" in capsys.readouterr().out
    trusted = ["--trust", "mine", "--checkpoint", "best", "--raw", "--data-dir", str(copied)]  # as an evaluation does
    assert evaluate.evaluate(["frontier", str(copied), "--n", "40", *trusted]) == 0
    with pytest.raises(RunError, match="its data have no styles, or the extractor does not know them"):
        evaluate.evaluate(["frontier", str(copied), "--features", "blind", "--n", "40"])
    with pytest.raises(UsageError, match="name a run"):
        evaluate.evaluate(["frontier"])


def test_few_held_out_examples_are_said_and_end_nothing(copied, monkeypatch, capsys):
    monkeypatch.setattr(
        "genjax_art.build.build_source", lambda experiment, split=None: synthetic_source(tiny_run.GREY, 4, 1)
    )
    words = ["--features", "pixels-pca64", "--n", "8"]
    assert evaluate.evaluate([str(copied), *words]) == 0
    assert "not measured: manifolds need more than 5" in capsys.readouterr().out
    assert (copied / "evaluation" / "page.html").exists()
    with pytest.raises(RunError, match="manifolds need more than 5"):
        evaluate.evaluate([str(copied), *words, "--metrics", "manifold"])


def test_words_are_checked_before_anything_is_read():
    for words, match in (
        ([], "name a run"),
        (["r", "--n", "1"], "^--n must be at least 2"),
        (["frontier", "r", "--n", "1"], "^--n must be at least 2"),
        (["r", "--features", "a", "--inception", "b"], "leave one out"),
        (["r", "--metrics", "nothing"], "measure 'nothing'"),
    ):
        with pytest.raises(UsageError, match=match):
            evaluate.evaluate(words)


def test_numbers_are_shown_and_written_as_they_are():
    found = {"a": np.float32(2), "b": np.arange(3), "c": jnp.float32(np.nan), "d": {"e": (np.int64(1), math.inf)}}
    assert plain(found) == {"a": 2.0, "b": [0, 1, 2], "c": None, "d": {"e": [1, None]}}
    assert shown(Record("m", 1.23456, 1.0, 2.0, 1, 1, "e", "r")) == "1.235 (1 to 2)"
    assert shown(Record("m", 10.0, 10.0, 10.0, 1, 1, "e", "r")) == "10"
    assert shown(Record("m", np.nan, 0.0, 0.0, 1, 1, "e", "r")) == "unknown"
    assert plain({"a": [np.float64(np.inf), 1.5], 2: (True, "x")}) == {"a": [None, 1.5], "2": [True, "x"]}
    assert of_mean(np.asarray([True, False])) == Figure(0.5, 0.0, 1.0)


def test_what_cannot_be_measured_ends_nothing_else(copied, monkeypatch, capsys):
    """Two samples, and features that are all the same: each measure says why, the others are there."""
    monkeypatch.setattr("genjax_art.build.build_source", data)
    assert evaluate.evaluate([str(copied), "--features", "pixels-pca64", "--n", "2"]) == 0
    assert "not measured: halves need two repeats" in capsys.readouterr().out
    with pytest.raises(RunError, match="vendi cannot be measured: halves need two repeats"):
        evaluate.evaluate([str(copied), "--features", "pixels-pca64", "--n", "2", "--metrics", "vendi"])
    flat = Extractor("flat", 1, "none", lambda x: {"features": np.ones((len(x), 3), np.float32)}, {})
    monkeypatch.setattr("genjax_art.evaluate.judged.build_extractor", lambda *_, **__: flat)
    assert evaluate.evaluate([str(copied), "--n", "40"]) == 0
    assert "not measured: an RBF kernel needs a positive bandwidth" in capsys.readouterr().out
    with pytest.raises(ValueError, match="a defect"):  # of one's own measure, which wants its traceback
        judged.judge(copied, Judging(n=40), {"mine": defect})


def defect(subject):
    raise ValueError("a defect")


def test_the_sensitivity_is_beside_data_of_the_class_that_is_drawn():
    """A sampler of one of eight points that is as wide as the data there hears z fully."""
    rng = np.random.default_rng(0)
    label = np.arange(800, dtype=np.int32) % 8
    centres = 10 * np.stack([np.cos(label * np.pi / 4), np.sin(label * np.pi / 4)], 1)
    x = (centres + rng.normal(size=(800, 2))).astype(np.float32)
    names = tuple("abcdefgh")
    held = array_source(x, label, classes=names, low=-99.0, high=99.0)

    def sample(n, seed, label):
        assert label == "a"
        return (centres[0] + wide[0] * np.random.default_rng(seed + 1).normal(size=(n, 2))).astype(np.float32)

    run = SimpleNamespace(sample=sample, method=SimpleNamespace(classes=names))
    asked = Subject(held.spec, x[:250], held, held, lambda x: x, run)
    wide = [0.0]
    for wide[0], expected in ((1.0, 1.0), (0.5, 0.5), (0.0, 0.0)):
        assert sensitivity(asked) == pytest.approx(expected, abs=0.15)
