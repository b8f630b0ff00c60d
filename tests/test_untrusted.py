"""config.json of a stranger: within bounds or refused in one line with the field named, before memory is taken."""

import hashlib
import json
import shutil
import time

import jax
import numpy as np
import pytest
from small import gan_experiment, vae_experiment

from genjax_art import parts
from genjax_art.benchmark import fuzz
from genjax_art.build import build_plan, complete
from genjax_art.config import Component
from genjax_art.errors import RunError, UsageError
from genjax_art.run import layout
from genjax_art.run.load import build_saved, read_experiment
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import ARRAYS, Checkpoints
from genjax_art.train.manifest import MANIFEST, DamagedError, check_manifest, write_manifest

GREY = ArraySpec((8, 8, 1), classes=("a", "b"))


def opened(folder):
    """As far as a checkpoint is needed."""
    experiment, spec = read_experiment(folder)
    build_saved(experiment, spec, folder)


def refused(folder, message):
    began = time.monotonic()
    with pytest.raises((RunError, UsageError), match=message) as error:
        opened(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
    assert time.monotonic() - began < 10


def changed(folder, path, value, experiment=None):
    config = json.loads(json.dumps(build_plan(experiment or vae_experiment(), GREY).config))
    *holders, last = path.split(".")
    place = config
    for name in holders:
        place = place[name]
    place[last] = value
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_is_within_bounds_is_opened(tmp_path):
    opened(changed(tmp_path, "spec.high", 2))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.options.width", 10**9, r"model mlp_vae is too large: .* numbers, more than 2,147,483,648; .*kernel"),
        ("model.options.latents", 2 * 10**9, "model mlp_vae is too large"),
        ("run.batch_size", 10**9, "--batch-size 1000000000 is too large"),
        ("run.steps", 10**10, "run.steps is out of bounds"),
        ("run.steps", 2**31, "--steps must be below"),
        ("run.seeds", 10**9, "--batch-size 8 is too large"),
        ("model.options.width", -3, "model and objective of tiny-vae cannot be built"),
        ("model.options.width", [8], "width of model mlp_vae must be a whole number, got"),
        ("model.options.width", "8", "width of model mlp_vae must be a whole number, got '8'"),
        ("model.options.width", True, "width of model mlp_vae must be a whole number, got True"),
        ("model.options.width", 8.0, "width of model mlp_vae must be a whole number, got 8.0"),
        ("model.options.conditional", 1, "conditional of model mlp_vae must be true or false, got 1"),
        ("objective.options.beta", "high", "beta of objective vae must be a finite number, got 'high'"),
        ("objective.options.beta", {"a": {"b": 1}}, "beta of objective vae must be a finite number"),
        ("optimizers.vae.transform.options.b1", None, "b1 of optimizer adam must be a finite number, got None"),
        ("spec.shape", [], r"spec\.shape is not one to six whole numbers above 0"),
        ("spec.shape", [-1, 8, 1], r"spec\.shape is not"),
        ("spec.shape", [8.0, 8, 1], r"spec\.shape is not"),
        ("spec.shape", [100000, 100000, 3], r"spec\.shape has 30,000,000,000 numbers"),
        ("spec.shape", "abc", r"spec\.shape is not"),
        ("spec.shape", [1] * 7, r"spec\.shape is not"),
        ("spec.low", 1.0, r"spec\.low and spec\.high are not two numbers, the first below"),
        ("spec.high", "1", r"spec\.low and spec\.high are not two numbers"),
        ("spec.kind", "x y", r"spec\.kind is no word"),
        ("spec.kind", "x" * 300, r"spec\.kind is no word"),
        ("spec.classes", ["a"] * 100_001, r"spec\.classes has 100,001 entries"),
        ("spec.classes", {"a": 1}, r"spec\.classes is no list of names"),
        ("spec.classes", [1], r"spec\.classes is no list of names"),
        ("spec.bounded", "yes", r"spec\.bounded is neither true nor false"),
        ("spec.rate", 0, r"spec\.rate is neither null nor frames per second, over 0 and at most 100,000"),
        ("spec.rate", "8", r"spec\.rate is neither null nor frames"),
        ("spec.rate", True, r"spec\.rate is neither null nor frames"),
        ("spec", {"shape": [8]}, r"spec\.low is missing"),
        ("name", "x" * 5000, "name has a word of more than 4096 characters"),
        ("data.options", {"split": deep(40)}, r"data\.options\.split is nested more than 32 levels"),
        ("model.options.width", [1] * 1000, r"model\.options\.width has 1,000 entries, more than 256"),
        ("ema_half_life", {"vae": "x"}, r"ema_half_life\.vae: \"x\" is not a float"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_field(tmp_path, path, value, message):
    refused(changed(tmp_path / "run", path, value), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"version": 2, "a": NaN}', "NaN is no number of JSON"),
        (b'{"version": 2, "a": 1e999}', "a is not finite"),
        (b'{"version": 2, "version": 2}', "'version' stands twice"),
        (b"[" * 100_000, "nested more than 32 levels deep"),
        (b'{"a": ' * 100_000, "nested more than 32 levels deep"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "cannot be read"),
        (b'{"a": "\xff"}', "cannot be read .*utf-8"),
        (b"{}" + b" " * 5_000_000, "it has more than 4 MB"),
        (b"[1]", "it is no JSON object"),
    ],
    ids=range(9),
)
def test_what_is_no_such_json_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_bytes(text)
    refused(tmp_path, message)


def test_what_would_be_built_one_by_one_has_a_bound(tmp_path):
    gan = gan_experiment()
    refused(
        changed(tmp_path / "a", "objective.options.discriminator_repeats", 10**9, gan), "must be at most 256, got 1"
    )
    mlp = Component("mlp", {"width": 8, "latents": 4})
    gan = type(gan)(**{**vars(gan), "model": mlp})
    refused(changed(tmp_path / "b", "model.options.layers", 10**9, gan), "layers of model mlp must be at most 256")


def test_a_history_is_bounded_too(tmp_path):
    refused(changed(tmp_path / "run", "history", [{"step": 1}] * 100_001), "history has 100,001 entries")


def part(
    *,
    whole: int = 1,
    pair: tuple[int, int] | None = None,
    some: tuple[float, ...] = (),
    either: float | tuple[float, float] = 1.0,
    layers: parts.Count = 2,
    anything: object = None,
) -> None:
    """Of many types."""


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("whole", (0, -1), (1.0, True, "1", None, (1,))),
        ("pair", (None, (1, 2)), ((1,), (1, 2, 3), (1, 2.5), "ab", 3)),
        ("some", ((), (1, 2.5)), (1.0, ("a",), (float("nan"),), (1.0,) * 257)),
        ("either", (1, (0.5, 1)), ("1", (1.0,), float("inf"))),
        ("layers", (0, 256), (257, 2.0)),
        ("anything", (None, "x", 3), ()),
    ],
)
def test_options_are_of_their_types(option, good, bad):
    for value in good:
        assert parts.complete(part, "toy", "part", {option: value})[option] == value
    for value in bad:
        with pytest.raises(UsageError, match=f"{option} of toy part "):
            parts.complete(part, "toy", "part", {option: value})


def test_defaults_are_of_their_types():
    for experiment in (vae_experiment(), gan_experiment()):
        assert complete(complete(experiment)) == complete(experiment)


# checkpoints


def test_arrays_that_a_small_file_claims_to_hold_are_not_made(tmp_path):
    import orbax.checkpoint as ocp

    plan = build_plan(vae_experiment(), GREY)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), plan.state_shapes())
    path = tmp_path / "checkpoints" / "0"
    with Checkpoints(path.parent) as checkpoints:
        checkpoints.prepare()
        checkpoints.save(0, state, 0.0)
    tree = jax.device_get({name: getattr(state, name) for name in state.__dataclass_fields__})
    tree["step"] = np.zeros((8192, 8192), np.int32)  # 256 MB that are 300 kB on disk
    shutil.rmtree(path / ARRAYS)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as writer:
        writer.save(path / ARRAYS, args=ocp.args.StandardSave(tree))
    (path / MANIFEST).unlink()
    write_manifest(path, 0, None)  # as a stranger would
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 2**21
    with (
        Checkpoints(path.parent) as checkpoints,
        pytest.raises(RunError, match=r"cannot be read for this model: it claims to hold 67,\d{3},\d{3} numbers"),
    ):
        checkpoints.restore(plan.state_shapes())


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../secret": [1, "0"]}},
        {"files": {"/etc/passwd": [1, "0"]}},
        {"files": {"default/d": "0"}},
        {"files": []},
        {"files": {"default/d": [True, "0"]}},
        {"step": "0"},
        {"experiment": 3},
        {"version": "1"},
        {"version": None},
    ],
)
def test_a_manifest_with_right_digests_and_wrong_content_is_refused(tmp_path, change):
    (tmp_path / "a").write_text("x")
    write_manifest(tmp_path, 0, {})
    body = {**json.loads((tmp_path / MANIFEST).read_text())["manifest"], **change}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (tmp_path / MANIFEST).write_text(json.dumps({"digest": digest, "manifest": body}))
    with pytest.raises(DamagedError, match=r"the content of manifest\.json has changed"):
        check_manifest(tmp_path, 0)


# fuzzing


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "cases"), [("config", 60), ("metrics", 200), ("midi", 150), ("pictures", 150), ("clips", 60)]
)
def test_damaged_files_are_opened_or_refused(kind, cases):
    counts, failures = fuzz.fuzz([kind], cases, seed=1, limit=20.0)
    assert not failures, failures[0]
    assert sum(counts.values()) == cases and counts[f"{kind} opened"] > 0


@pytest.mark.filterwarnings("ignore")
def test_damaged_checkpoints_are_opened_or_refused():
    counts, failures = fuzz.fuzz(["checkpoint"], 8, seed=1, limit=60.0)
    assert not failures, failures[0]
    assert sum(counts.values()) == 8


def test_fuzzing_finds_tracebacks_and_hangs(monkeypatch, capsys, tmp_path):
    def toy(folder):
        def read(rng):
            number = rng.randrange(4)
            if number == 1:
                raise KeyError("lost")
            if number == 2:
                raise RunError("two\nlines")
            if number == 3:
                time.sleep(5)

        return read

    monkeypatch.setattr(fuzz, "KINDS", {"toy": toy})
    with pytest.raises(SystemExit) as end:
        fuzz.main(["--cases", "20", "--limit", "0.05", "--json", str(tmp_path / "x.json")])
    assert end.value.code == 1
    report = json.loads((tmp_path / "x.json").read_text())
    assert set(report["counts"]) == {"toy opened", "toy traceback", "toy hang"}
    assert "KeyError: 'lost'" in capsys.readouterr().out
    with pytest.raises(UsageError, match="unknown kind of file 'sounds'; known: toy"):
        fuzz.main(["--only", "sounds"])


def test_a_run_folder_says_which_file(tmp_path):
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, f"{tmp_path / layout.CONFIG} cannot be read")
