"""A run goes on with the data that it was trained on, wherever they lie; what differs is said."""

import json
import os
import shutil

import numpy as np
import pytest
from helpers import write_picture

from genjax_art import evaluate
from genjax_art.data.content import Content, content_from_json, content_of, difference, with_classes
from genjax_art.data.contract import DataError, array_source

pytestmark = pytest.mark.usefixtures("own_data")
TINY = ("--parallel", "jit", "--batch-size", 8, "--sample-every", 0, "--model.width", 4, "--model.latents", 2)


def folder_of(path, *labels):
    for number, label in enumerate(labels):
        for i in range(4):
            write_picture(path / label / f"{i}.png", (8, 8, 3), seed=10 * number + i)
    return path


@pytest.fixture
def trained(command, tmp_path, monkeypatch):
    """A run of two steps in `run`, on pictures in `own`, named from the directory they lie in."""
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "own", "cat", "fox")
    data = ("--data.name", "image_folder", "--data.folder", "own", "--data.size", 8, 8)
    ended = command("train", "mlp-gan", *TINY, *data, "--steps", 2, "--run-dir", "run")
    assert ended.status == 0, ended.err
    return tmp_path


def config_of(trained):
    return json.loads((trained / "run" / "config.json").read_text())


def resume(command, trained, steps, *words):
    return command("train", "--resume", "--parallel", "jit", "--run-dir", trained / "run", "--steps", steps, *words)


def test_moved_data_are_the_same_data(command, trained, monkeypatch):
    assert config_of(trained)["data"]["options"]["folder"] == str(trained / "own")
    (trained / "else").mkdir()
    monkeypatch.chdir(trained / "else")
    assert resume(command, trained, 3).status == 0
    shutil.copytree(trained / "own", trained / "new")
    shutil.rmtree(trained / "own")
    gone = resume(command, trained, 4)
    assert gone.status == 1 and "--data.folder" in gone.err and len(gone.err.splitlines()) == 1
    assert resume(command, trained, 4, "--data.folder", os.path.join("..", "new")).status == 0
    assert config_of(trained)["data"]["options"]["folder"].endswith("new")
    assert [next(iter(entry["changed"])) for entry in config_of(trained)["history"]] == ["steps", "data"]
    other = resume(command, trained, 5, "--data.folder", trained / "new", "--data.size", 9, 9)
    assert other.status == 2 and "--resume cannot change data" in other.err


def test_changed_data_are_named_and_refused_or_recorded(command, trained):
    write_picture(trained / "own" / "fox" / "new.png", (8, 8, 3), seed=99)
    before = config_of(trained)
    ended = resume(command, trained, 3)
    assert ended.status == 1 and "8 examples before and 9 now; put them back, or add --changed data" in ended.err
    assert config_of(trained) == before
    shutil.rmtree(trained / "own" / "cat")
    ended = resume(command, trained, 3)
    assert ended.status == 1 and "missing classes cat, 8 examples before and 5 now" in ended.err
    assert resume(command, trained, 3, "--changed", "data").status == 0
    after = config_of(trained)
    assert after["spec"]["classes"] == ["cat", "fox"] and after["content"]["classes"] == ["fox"]
    [entry] = after["history"]
    assert entry["step"] == 2 and entry["changed"]["content"] == [before["content"], after["content"]]
    assert resume(command, trained, 4).status == 0  # these are the run's data now
    assert [[*entry["changed"]] for entry in config_of(trained)["history"]][1:] == [["steps"]]
    folder_of(trained / "own", "ape")
    ended = resume(command, trained, 5)
    assert ended.status == 1 and "new classes ape" in ended.err and "put them back, or train anew" in ended.err
    ended = resume(command, trained, 5, "--changed", "data")
    assert ended.status == 1 and "the run knows no class ape" in ended.err
    ended = resume(command, trained, 5, "--changed", "dat")
    assert ended.status == 2 and "unknown field for --changed 'dat'; known: data" in ended.err


def test_the_data_are_read_for_their_content_once(command, trained, monkeypatch):
    """On a resumption, too, where it is compared and then kept."""
    asked = []
    monkeypatch.setattr("genjax_art.data.content._checksum", lambda source: asked.append(source) or "anything")
    before = config_of(trained)["content"]
    assert resume(command, trained, 3, "--changed", "data").status == 0
    assert len(asked) == 1 and config_of(trained)["content"] == {**before, "checksum": "anything"}


def test_prepared_data_that_only_the_run_names_are_asked_for(command, trained, monkeypatch):
    config = config_of(trained)
    config["data"]["options"]["data_dir"] = str(trained / "stranger")
    (trained / "run" / "config.json").write_text(json.dumps(config))
    ended = resume(command, trained, 3)
    assert ended.status == 1 and f"if you trust it: --data.data-dir {trained / 'stranger'}" in ended.err
    with pytest.raises(ValueError, match=f"if you trust it: --data-dir {trained / 'stranger'}"):
        evaluate.evaluate([str(trained / "run"), "--n", "8"])
    assert not (trained / "stranger").exists()
    assert resume(command, trained, 3, "--data.data-dir", trained / "stranger").status == 0
    assert (trained / "stranger").exists()


def test_evaluate_says_that_the_data_have_changed(trained, capsys):
    words = [str(trained / "run"), "--n", "8", "--split", "train", "--metrics", "sliced_wasserstein"]
    evaluate.evaluate(words)
    assert "have changed" not in capsys.readouterr().err
    write_picture(trained / "own" / "fox" / "0.png", (8, 8, 3), seed=99)
    evaluate.evaluate(words)
    assert "was trained: other examples, as many as before" in capsys.readouterr().err


def source(classes, labels, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (len(labels), 2, 2, 1), dtype=np.uint8)
    return array_source(x, np.asarray(labels), classes=classes)


def test_the_content_is_that_of_the_examples():
    one = content_of(source(("a", "b"), [0, 1, 1]))
    assert one == content_of(source(("a", "b"), [0, 1, 1])) == content_from_json(json.loads(json.dumps(one.to_json())))
    assert one != content_of(source(("a", "b"), [0, 1, 0])) and one != content_of(source(("a", "b"), [0, 1, 1], seed=1))
    assert content_from_json(None) is None and content_from_json({"examples": "3"}) is None
    assert difference(one, one) == "" == difference(Content(3, ("a", "b"), ""), one)
    assert difference(one, Content(3, ("b", "a"), one.checksum)) == "classes in another order"


def test_labels_are_matched_by_name():
    moved = with_classes(source(("c", "a"), [0, 1, 1]), ("a", "b", "c"))
    assert moved.spec.classes == ("a", "b", "c") and moved.take(np.arange(3))["label"].tolist() == [2, 0, 0]
    assert moved.take(np.arange(3))["label"].dtype == np.int32 and len(moved) == 3
    assert content_of(moved) == content_of(source(("c", "a"), [0, 1, 1]))
    with pytest.raises(DataError, match="knows no class d"):
        with_classes(source(("a", "d"), [0, 1]), ("a", "b"))
