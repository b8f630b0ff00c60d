"""Folders of the user's as systems and exports leave them: what is an example, of which split, and what is not."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import examples, write_picture

from genjax_art import cli
from genjax_art.build import build_source, on_data_of
from genjax_art.config import Component
from genjax_art.data.content import Content, difference, with_classes
from genjax_art.data.contract import DataError, synthetic_source
from genjax_art.data.folders import visible_files
from genjax_art.data.open import open_source
from genjax_art.run.held_out import NothingHeldOut, held_out
from genjax_art.spec import ArraySpec


def folder_with(path: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_picture(path / name, (4, 4, 3), seed=seed)
    return path


def opened(folder: Path, split: str = "train", **options):
    return open_source("image_folder", folder=folder, size=(4, 4), split=split, **options)


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "TEST"), ("train", "valid")])
@pytest.mark.parametrize("label", ["", "a/"])
def test_splits_are_folders_of_their_names_however_written_and_whatever_lies_beside(tmp_path, caplog, names, label):
    own = folder_with(tmp_path / "own", *(f"{names[0]}/{label}{i}.png" for i in range(3)), f"{names[1]}/{label}x.png")
    write_picture(own / "preview.png", (4, 4, 3), seed=9)
    assert len(opened(own)) == 3 and len(opened(own, names[1].lower())) == 1
    assert opened(own).spec.classes == (("a",) if label else ())
    assert "left out 1 pictures beside the layout: preview.png" in caplog.messages


def test_labels_named_like_splits_are_said(tmp_path, caplog):
    own = folder_with(tmp_path / "own", "train/0.png", "test/1.png", "extra/2.png")
    assert opened(own).spec.classes == ("extra", "test", "train")
    assert "folders named like splits are labels here, and all pictures are trained on: test, train" in caplog.text
    caplog.clear()
    assert opened(folder_with(tmp_path / "other", "cat/0.png", "dog/1.png")).spec.classes == ("cat", "dog")
    assert not caplog.messages


def test_what_we_and_systems_leave_in_a_folder_is_no_example(tmp_path):
    """Runs, our prepared sets, bins, thumbnails: the same files before and after."""
    own = folder_with(tmp_path / "own", "cat/0.png", "dog/1.png")
    before = visible_files(own)
    sets = own / "sets"
    assert len(opened(own, data_dir=sets)) == 2
    folder_with(own, "out/samples/step_1.png", "out/curves.png", "runs/one/grid.png", "#recycle/cat/2.png")
    for name in ("held.png", "results.json", "page.html"):
        write_picture(own / "runs" / "choose" / "evaluation" / "x.png")
        (own / "runs" / "choose" / "evaluation" / name).write_text("")
    folder_with(own, "@eaDir/0.png/THUMB.png", "cat/@eaDir/THUMB.png", "$RECYCLE.BIN/x.png", "__MACOSX/cat/0.png")
    for run in (own / "out", own / "runs" / "one"):
        (run / "checkpoints").mkdir()
        (run / "config.json").write_text("{}")
    assert visible_files(own) == before
    source = opened(own, data_dir=sets)
    assert source.spec.classes == ("cat", "dog") and len(source) == 2
    assert len(list((sets / "image_folder").iterdir())) == 1, "nothing is prepared anew"
    (own / "config.json").write_text("{}")  # a folder that is itself a run, if someone says that it is his
    (own / "checkpoints").mkdir()
    assert set(before) <= set(visible_files(own))


def test_a_prepared_set_within_its_own_folder_is_none_of_its_files(tmp_path):
    """Of TensorFlow Datasets, as music is prepared: else each start would find another folder, and prepare it anew."""
    song = tmp_path / "songs" / "a.mid"
    song.parent.mkdir()
    song.write_bytes(b"MThd")
    before = visible_files(song.parent)
    prepared = song.parent / "sets" / "midi_folder" / "4-0" / "2.0.0"
    prepared.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json", "midi_folder-train.array_record"):
        (prepared / name).write_text("")
    assert visible_files(song.parent) == before
    assert len(visible_files(prepared)) == 3  # asked for itself


def test_links_do_not_take_the_place_of_what_they_lead_to(tmp_path, caplog):
    own = folder_with(tmp_path / "own", "cat/0.png", "dog/1.png")
    elsewhere = folder_with(tmp_path / "far", "2.png")
    (own / "best").symlink_to(own / "cat")
    (own / "eel").symlink_to(elsewhere)
    assert opened(own).spec.classes == ("cat", "dog", "eel")
    assert "left out the link" in caplog.text and "best" in caplog.text
    (tmp_path / "alias").symlink_to(own)
    assert opened(tmp_path / "alias").spec.classes == ("cat", "dog", "eel")
    caplog.clear()
    (own / "fish").symlink_to(elsewhere)  # the second one to it
    assert opened(own).spec.classes == ("cat", "dog", "eel")
    assert f"left out the link {own / 'fish'} to {own / 'eel'}" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    own = folder_with(tmp_path / "own", "cat/0.png", "dog/1.png")
    (own / "dog").chmod(0)
    try:
        with pytest.raises(DataError, match=r"own/dog cannot be read \(Permission denied\)"):
            opened(own)
    finally:
        (own / "dog").chmod(0o755)


def test_what_cannot_be_listed_is_an_error_of_its_own(tmp_path, monkeypatch):
    """The same for root: a folder vanishes, or a disk has a fault, while it is walked through."""
    own = folder_with(tmp_path / "own", "cat/0.png")
    real = os.scandir

    def failing(path):
        if os.fspath(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(DataError, match=r"own/cat cannot be read \(Permission denied\)"):
        visible_files(own)


def test_a_pipe_among_the_pictures_is_not_waited_for(tmp_path, caplog):
    own = folder_with(tmp_path / "own", *(f"a/{i}.png" for i in range(150)))
    os.mkfifo(own / "a" / "pipe.png")
    assert len(opened(own)) == 150
    assert "pipe.png: it is no regular file" in caplog.text


NFC, NFD = "caf\u00e9", "cafe\u0301"


def test_a_label_is_one_whichever_system_wrote_it(tmp_path):
    own = folder_with(tmp_path / "own", f"train/{NFC}/0.png", f"test/{NFD}/1.png", "train/tea/2.png", "test/tea/3.png")
    assert opened(own).spec.classes == (NFC, "tea")
    np.testing.assert_array_equal(np.sort(examples(opened(own, "test"))["label"]), [0, 1])


def test_a_run_knows_its_labels_in_either_writing():
    before, now = Content(3, (NFD, "tea"), ""), Content(3, (NFC, "tea"), "")
    assert difference(before, now) == "" == difference(now, before)
    source = synthetic_source(ArraySpec((2,), classes=(NFC, "tea")), 5, 0)
    seen = with_classes(source, ("tea", NFD))
    assert seen.spec.classes == ("tea", NFD)
    rows = np.arange(5)
    np.testing.assert_array_equal(seen.take(rows)["label"], 1 - source.take(rows)["label"])


def test_copies_of_what_was_trained_on_are_not_held_out(tmp_path, caplog):
    """Of a flat folder whose files lie twice, as copying by hand leaves them."""
    caplog.set_level(logging.WARNING)
    own = folder_with(tmp_path / "own", *(f"{i}.png" for i in range(30)))
    for i in range(30):
        (own / f"{i} copy.png").write_bytes((own / f"{i}.png").read_bytes())
    preset = cli.parse_train(["pictures", "--run-dir", "x"]).experiment

    def data(split):
        options = {"folder": own, "size": (4, 4), "data_dir": tmp_path / "sets", "split": split}
        return on_data_of(preset, preset).__class__(**{**vars(preset), "data": Component("image_folder", options)})

    seen, left = (
        examples(source)["x"] for source in (build_source(data("train[:80%]")), held_out(data("train[:80%]"), None))
    )
    assert 0 < len(left) < 12 and not {x.tobytes() for x in seen} & {x.tobytes() for x in left}
    assert f"left out {12 - len(left)} of 12 held-out examples" in caplog.text
    for path in own.glob("*.png"):
        path.write_bytes((own / "0.png").read_bytes())
    with pytest.raises(NothingHeldOut):
        held_out(data("train[:80%]"), None)
