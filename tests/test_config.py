"""An experiment as JSON and back, and what is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
from small import gan_experiment, spec_of, vae_experiment

from genjax_art import models, parts
from genjax_art.build import build_plan, complete, load_preset, preset_names
from genjax_art.config import VERSION, Component, Experiment, Optimizer, from_json, to_json, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.run.layout import read_config, write_config
from genjax_art.spec import ArraySpec

SHARED = Path(__file__).resolve().parents[2] / "shared"

GREY = ArraySpec((8, 8, 1))


@pytest.mark.parametrize("name", preset_names())
def test_presets_go_through_json_and_back(name):
    preset = load_preset(name)
    assert preset.name == name
    for experiment in (preset, complete(preset)):
        text = json.dumps(to_json(experiment), allow_nan=False)
        assert from_json(json.loads(text)) == experiment
    assert complete(complete(preset)) == complete(preset)


def test_every_field_goes_through_json_and_back():
    experiment = dataclasses.replace(
        gan_experiment(),
        data=Component("image_folder", {"size": (8, 12), "channels": 3, "folder": "f", "data_dir": None, "split": "s"}),
        optimizers={"a": Optimizer(0.5, Component("adamw", {"b1": 0.25}), Component("cosine", {"final": 1}), clip=2.0)},
        ema_half_life={"a": 5.5},
        model=Component("mlp", {"widths": (1, 2), "norm": "batch", "deep": {"r1": 0.5, "r2": (1.0, 0.5)}, "on": True}),
    )
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment


def written(**changes):
    data = json.loads(json.dumps(to_json(vae_experiment())))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": VERSION + 1}, f"config version {VERSION + 1} is not known here .*install a newer genjax_art"),
        ({"version": None}, "config version None"),
        ({"speed": 3}, "experiment: unknown speed; known: name, model"),
        ({"data__colour": "red"}, r"experiment\.data: unknown colour; known: name, options"),
        ({"name": None}, "experiment: missing name"),
        ({"model__name": None}, r"experiment\.model: missing name"),
        ({"run__steps": "many"}, r'experiment\.run\.steps: "many" is not a int'),
        ({"run__steps": 1.5}, r"experiment\.run\.steps: 1.5 is not a int"),
        ({"run__steps": True}, r"experiment\.run\.steps: true is not a int"),
        ({"data__options": [8]}, r"experiment\.data\.options: \[8\] is not a dict"),
        ({"data": "mnist"}, r"experiment\.data: expected the fields of Component"),
        ({"optimizers__vae__learning_rate": "high"}, r"vae\.learning_rate: \"high\" is not a float"),
        ({"optimizers": []}, r"experiment\.optimizers: \[\] is not a dict"),
        ({"model": "mlp"}, r"experiment\.model: expected the fields of Component"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        from_json(written(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            {"name": "chorales_4bar", "split": "all", "folder": None, "data_dir": None, "size": None, "channels": None},
            Component("chorales", {"split": "all", "bars": 4}),
        ),
        (
            {"name": "midi_folder_4bar", "split": "train", "folder": "mine", "data_dir": "sets"},
            Component("midi_folder", {"split": "train", "folder": "mine", "data_dir": "sets", "bars": 4}),
        ),
        (
            {"name": "procedural_art", "split": "train", "folder": None, "size": [32, 48], "channels": 3},
            Component("procedural_art", {"split": "train", "size": (32, 48), "channels": 3}),
        ),
        ({"name": "ring8", "split": "train", "data_dir": "sets"}, Component("ring8", {"split": "train"})),
        ({"name": "stacked_mnist", "split": "train", "channels": 3}, Component("stacked_mnist", {"split": "train"})),
    ],
)
def test_the_data_of_version_1_are_read(written, expected):
    old = to_json(vae_experiment())
    experiment = from_json({**old, **old.pop("run"), "version": 1, "data": written})
    assert experiment == dataclasses.replace(vae_experiment(), data=expected)
    completed = complete(experiment).data
    assert completed.options.items() >= expected.options.items()
    assert from_json(to_json(experiment)) == experiment


@pytest.mark.parametrize("name", ["can-art", "conv-vae", "dcgan-small", "music-vae-small", "ring8"])
def test_runs_of_version_1_are_read(name):
    folder = SHARED / "fixtures" / "runs_v1" / name
    if not folder.is_dir():
        pytest.skip("no runs of version 1 beside this checkout")
    config, spec = read_config(folder)
    old = json.loads((folder / "config.json").read_text())
    assert (old["version"], config["version"]) == (1, VERSION)
    assert config["run"]["steps"] == old["steps"]
    plan = build_plan(from_json(config), spec)
    assert (plan.config["version"], plan.name) == (VERSION, name)
    assert plan.config["data"]["name"] == config["data"]["name"]
    assert spec.bounded == (name != "ring8")
    assert spec == spec_of(from_json(config).data)


def test_half_lives_of_version_1_count_one_batch_a_step():
    """Now images are those of all updates of a step, which are five times as many here."""
    old = to_json(dataclasses.replace(gan_experiment(), ema_burn_in=20.0))
    old = {**old, **old.pop("run"), "version": 1, "data": {"name": "mnist_5k"}}
    old["objective"]["options"]["discriminator_repeats"] = 5
    experiment = from_json(old)
    assert (experiment.ema_half_life, experiment.ema_burn_in) == ({"generator": 500.0}, 100.0)


def test_whole_numbers_are_numbers():
    assert from_json(written(optimizers__vae__learning_rate=1)).optimizers["vae"].learning_rate == 1.0


def refused(experiment, message, kind=UsageError, spec=GREY):
    with pytest.raises(kind, match=message) as error:
        build_plan(experiment, spec)
    assert "\n" not in str(error.value)


def test_unknown_names_list_the_known_ones():
    known = ", ".join(parts.names(models))
    assert "dcgan" in known and "layers" not in parts.names(models)
    refused(
        dataclasses.replace(gan_experiment(), model=Component("perceptron")),
        f"unknown model 'perceptron'; known: {known}",
    )
    refused(dataclasses.replace(gan_experiment(), objective=Component("diffusion")), "unknown objective .*known: .*gan")
    refused(gan_experiment(depth=3), "unknown option of model dcgan 'depth'; known: conditional, .*width")
    refused(gan_experiment(generator_norm="layer"), "unknown generator_norm of model dcgan 'layer'; known: batch, cond")
    refused(gan_experiment("softplus"), "unknown adversarial loss 'softplus'; known: hinge, .*non_saturating")
    refused(vae_experiment(likelihood="poisson"), "unknown likelihood 'poisson'; known: bernoulli, .*gaussian")


def test_the_data_are_completed_with_options_of_their_set():
    music = dataclasses.replace(vae_experiment(), data=Component("midi_folder", {"bars": 4, "folder": Path("mine")}))
    options = {"split": "train", "folder": "mine", "data_dir": None, "bars": 4}
    assert complete(music).data == Component("midi_folder", options)
    refused(
        dataclasses.replace(vae_experiment(), data=Component("chorales", {"size": (8, 8)})),
        "unknown option of data set chorales 'size'; known: bars, data_dir, split",
    )


def test_parts_that_do_not_fit_together_are_refused():
    gan, vae = gan_experiment(), vae_experiment()
    refused(
        dataclasses.replace(gan, objective=Component("vae")), "objective vae needs 'encoder'; model dcgan has networks"
    )
    refused(
        dataclasses.replace(gan, optimizers={"generator": Optimizer()}),
        "needs 'discriminator'.*optimizers for generator",
    )
    refused(
        dataclasses.replace(vae, optimizers={**vae.optimizers, "critic": Optimizer()}), "player in optimizers 'critic'"
    )
    refused(
        dataclasses.replace(vae, ema_half_life={"decoder": 1.0}),
        "unknown player in ema_half_life 'decoder'; known: vae",
    )
    refused(
        gan_experiment(conditional=True), "needs labels, and mnist_5k has none: use --model.no-conditional", RunError
    )


def test_a_missing_key_of_a_builders_own_is_no_wrong_choice(monkeypatch):
    """Only networks and optimizers are the user's to choose; the rest keeps its traceback."""

    def build(networks, spec, transforms):
        assert "encoder" not in networks and networks.get("encoder") is None
        return {}["mine"]

    monkeypatch.setattr("genjax_art.objectives.gan.build", build)
    with pytest.raises(KeyError, match="mine"):
        build_plan(dataclasses.replace(gan_experiment(), objective=Component("gan")), GREY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, 0) for field in ("steps", "batch_size", "log_every", "save_every", "keep_latest")),
        *((field, -1) for field in ("seed", "sample_every", "keep_best")),
        ("ema_burn_in", -1.0),
        ("seed", 2**31),
    ],
)
def test_sizes_that_make_no_sense_are_refused(field, value):
    word = field.replace("_", "-")
    own = hasattr(vae_experiment(), field)
    changed = dataclasses.replace if own else with_run
    refused(changed(vae_experiment(), **{field: value}), f"--{word} must be .*got {str(value).removesuffix('.0')}")


def test_a_half_life_is_positive():
    refused(dataclasses.replace(vae_experiment(), ema_half_life={"vae": 0.0}), "--ema-half-life.vae must be above 0")


@pytest.mark.parametrize(("bounded", "rate"), [(True, None), (False, 12.5)])
def test_a_run_folder_gives_back_experiment_and_spec(tmp_path, bounded, rate):
    spec = ArraySpec((8, 8, 3), 0.0, 1.0, classes=("a", "b"), bounded=bounded, rate=rate)
    plan = build_plan(vae_experiment(), spec)
    write_config(tmp_path, plan.config)
    config, read = read_config(tmp_path)
    assert read == spec
    assert from_json(config) == complete(vae_experiment())
    assert [player.name for player in build_plan(from_json(config), read).method.players] == ["vae"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"spec": {}}', '{"spec": {"shape": 3}}', "\x00"])
def test_an_unreadable_config_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match="cannot be read") as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_what_exists(name):
    """Their parts fit together and fit their data, in full size; nothing is computed."""
    preset = load_preset(name)
    plan = build_plan(preset, spec_of(preset.data))
    assert {player.name for player in plan.method.players} == set(preset.optimizers)
    assert isinstance(preset, Experiment)
