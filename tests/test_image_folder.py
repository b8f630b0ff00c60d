"""The user's own pictures: layouts, labels, what is skipped and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import examples, write_picture
from PIL import Image

from genjax_art.data.contract import DataError
from genjax_art.data.open import open_source
from genjax_art.data.sets.image_folder import read_layout
from genjax_art.pictures import read_picture

pytestmark = pytest.mark.usefixtures("own_data")


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    x = np.zeros((20, 40, 3), np.uint8)
    x[:, :20] = 255  # the left half is white; turned by 90 degrees clockwise, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "own" / "turned.jpg"
    path.parent.mkdir()
    Image.fromarray(x).save(path, exif=exif, quality=95)
    (turned,) = examples(open_source("image_folder", folder=path.parent, size=(40, 20)))["x"]
    assert (turned[:18] > 240).all() and (turned[22:] < 15).all()


def test_every_exif_orientation_is_undone(tmp_path: Path) -> None:
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8, 0] = upright[:8, 8:, 1] = upright[8:, :8, 2] = 255
    # what a camera stores under 1, 2, ...
    turns = "- FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270"
    for orientation, turn in enumerate(turns.split(), 1):
        exif, picture = Image.Exif(), Image.fromarray(upright)
        exif[0x0112] = orientation
        picture = picture if turn == "-" else picture.transpose(Image.Transpose[turn])
        picture.save(tmp_path / "x.png", exif=exif)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.png", (16, 16), 3), upright)


def test_inks_frames_and_odd_metadata_are_read_without_a_word(tmp_path: Path) -> None:
    """Warnings are errors here."""
    colours = [(200, 100, 50), (0, 0, 0)]
    first, second = (Image.new("RGB", (16, 16), colour) for colour in colours)
    first.convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    first.save(tmp_path / "metadata.jpg", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\xffodd")
    for ending in ("gif", "webp", "png"):
        first.save(tmp_path / f"film.{ending}", save_all=True, append_images=[second])
    for path in tmp_path.iterdir():
        x = read_picture(path, (8, 8), 3)
        np.testing.assert_allclose(x.astype(int), np.broadcast_to(colours[0], x.shape), atol=3, err_msg=path.name)


def test_labels_are_folder_names_and_rows_keep_them(picture_folder: Path) -> None:
    source = open_source("image_folder", folder=picture_folder, size=(40, 30))
    rows = examples(source)
    assert source.spec.classes == ("Cats", "big dogs")  # sorted, case kept
    expected = {}
    for label, name in enumerate(source.spec.classes):
        for path in sorted((picture_folder / "train" / name).iterdir()):
            with Image.open(path) as picture:
                expected[np.asarray(picture).tobytes()] = label
    assert {x.tobytes(): label for x, label in zip(rows["x"], rows["label"].tolist(), strict=True)} == expected


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for i, ending in enumerate(("png", "JPG", "jpeg", "WebP", "bmp", "gif")):
        write_picture(tmp_path / "own" / f"{i}.{ending}", seed=i)
    (tmp_path / "own" / ".hidden.png").write_text("no picture")
    (tmp_path / "own" / "notes.txt").write_text("no picture")
    source = open_source("image_folder", folder=tmp_path / "own")
    assert len(source) == 6 and source.spec.classes == () and set(examples(source)) == {"x"}
    assert source.spec.shape == (64, 64, 3)  # the default
    with pytest.raises(DataError, match="no split 'test': choose from train, all"):
        open_source("image_folder", folder=tmp_path / "own", split="test")


def test_pictures_beside_the_layout_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(3):
        write_picture(tmp_path / "own" / "a" / f"{i}.png", seed=i)
    write_picture(tmp_path / "own" / "top.png")
    write_picture(tmp_path / "own" / "a" / "deep" / "nested.png")
    assert len(open_source("image_folder", folder=tmp_path / "own")) == 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert "left out 2" in message and "top.png" in message and "nested.png" in message


def test_pictures_of_all_formats_are_read_and_other_files_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i, ending in enumerate(("png", "tif", "TIFF", "avif", "jfif", "ppm", "tga", "jp2")):
        write_picture(tmp_path / "own" / f"{i}.{ending}", seed=i)
    for name in ("a.heic", "b.HEIC", "notes.txt", "c", "d.pdf"):
        (tmp_path / "own" / name).write_text("no picture that Pillow decodes")
    assert len(open_source("image_folder", folder=tmp_path / "own")) == 8
    (message,) = caplog.messages
    assert message.endswith("no pictures by their endings: 2 .heic, 1 .pdf, 1 .txt, 1 without an ending")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.heic").write_text("")
    with pytest.raises(DataError, match=r"holds no pictures .*; it holds 1 \.heic$"):
        open_source("image_folder", folder=tmp_path / "none")


def test_a_too_large_picture_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(3):
        write_picture(tmp_path / "own" / f"{i}.png", seed=i)
    Image.new("1", (14000, 13000)).save(tmp_path / "own" / "scan.png")
    assert len(open_source("image_folder", folder=tmp_path / "own")) == 3
    first, second = caplog.messages
    assert "scan.png: it has" in first and "at most 67 million are read" in first
    assert second == "skipped 1 too large pictures: scan.png"
    for i in range(3):
        (tmp_path / "own" / f"{i}.png").unlink()
    with pytest.raises(DataError, match=r"all pictures are too large: make scan.png smaller"):
        open_source("image_folder", folder=tmp_path / "own")


def test_no_label_is_dropped_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(200):
        write_picture(tmp_path / "own" / "a" / f"{i}.png", (3, 3, 3), seed=i)
    for label, name in (("broken", "x.png"), ("other", "x.heic")):
        (tmp_path / "own" / label).mkdir()
        (tmp_path / "own" / label / name).write_text("no picture")
    source = open_source("image_folder", folder=tmp_path / "own", size=(3, 3))
    assert source.spec.classes == ("a", "broken")
    assert "left out labels without pictures: other" in caplog.messages
    assert "no picture of the label broken in the split train" in caplog.messages


def test_what_is_held_out_is_not_trained_on(picture_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = picture_folder / "train" / "Cats" / "copy.png"
    copy.write_bytes((picture_folder / "test" / "Cats" / "4.png").read_bytes())
    train, test = (
        examples(open_source("image_folder", folder=picture_folder, split=s))["x"] for s in ("train", "test")
    )
    assert (len(train), len(test)) == (8, 4) and not {x.tobytes() for x in train} & {x.tobytes() for x in test}
    assert "left out 1 pictures to train on that are held out as well: train/Cats/copy.png" in caplog.messages


def broken_folder(path: Path, good: int, broken: int) -> Path:
    for i in range(good):
        write_picture(path / "a" / f"{i}.png", (3, 3, 3), seed=i)
    whole = write_picture(path / "a" / "0.png", (64, 64, 3)).read_bytes()
    for i in range(broken):
        content: list[bytes] = [whole[: len(whole) // 2], b"", b"no picture", b"\x89PNG\r\n\x1a\n"]
        (path / "a" / f"broken{i:02d}.png").write_bytes(content[i % 4])
    return path


def test_one_percent_of_unreadable_pictures_is_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source("image_folder", folder=broken_folder(tmp_path / "own", 297, 3), size=(3, 3))
    assert len(source) == 297
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    for i, message in enumerate(messages):
        assert message.startswith("skipped") and f"broken{i:02d}.png" in message


def test_more_unreadable_pictures_stop_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_source("image_folder", folder=broken_folder(tmp_path / "own", 296, 4))
    message = str(caught.value)
    assert "4 of 300" in message and "\n" not in message
    assert all(f"broken0{i}.png" in message for i in range(4))
    with pytest.raises(DataError, match=r"24 of 25 .* and 4 more") as caught:
        open_source("image_folder", folder=broken_folder(tmp_path / "all", 0, 24))
    assert "broken19.png" in str(caught.value) and "broken20.png" not in str(caught.value)


def test_pictures_are_read_again_only_when_they_change(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def prepared() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (tmp_path / "tfds").rglob("set.json")}

    first = examples(open_source("image_folder", folder=picture_folder))["x"]
    before = prepared()
    np.testing.assert_array_equal(examples(open_source("image_folder", folder=picture_folder))["x"], first)
    assert prepared() == before and len(before) == 1
    write_picture(picture_folder / "train" / "Cats" / "0.png", seed=77)
    second = examples(open_source("image_folder", folder=picture_folder))["x"]
    assert second.shape == first.shape and (second != first).any()
    assert len(prepared()) == 2
    write_picture(picture_folder / "train" / "Cats" / "new.webp")
    assert len(open_source("image_folder", folder=picture_folder)) == len(first) + 1


def no_pictures(path: Path) -> None:
    (path / "a").mkdir(parents=True)
    (path / "a" / "x.txt").write_text("")


def mixed(path: Path) -> None:
    for i in range(3):
        write_picture(path / f"{i}.png")
    write_picture(path / "a" / "x.png")


def too_deep(path: Path) -> None:
    write_picture(path / "a" / "b" / "x.png")


def two_lines(path: Path) -> None:
    write_picture(path / "a\nb" / "x.png")


def blank_ends(path: Path) -> None:
    write_picture(path / "a" / "x.png")
    write_picture(path / "a " / "x.png")


def no_unicode(path: Path) -> None:
    write_picture(path / os.fsdecode(b"a\xff") / "x.png")


def half_labelled(path: Path) -> None:
    write_picture(path / "train" / "a" / "x.png")
    write_picture(path / "test" / "x.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_pictures, "holds no pictures"),
        (mixed, "3 pictures itself and 1 in folders"),
        (too_deep, "move them up"),
        (half_labelled, "some of its splits only"),
        (two_lines, r"rename the folder 'a\\nb'"),
        (blank_ends, "rename the folder 'a '"),
        (no_unicode, r"rename the folder 'a\\udcff'"),
    ],
)
def test_folders_without_a_layout_are_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path / "own")
    with pytest.raises(DataError, match=message) as caught:
        open_source("image_folder", folder=tmp_path / "own")
    assert "\n" not in str(caught.value)


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "own").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "own" / "a")
    os.symlink(tmp_path / "own", tmp_path / "elsewhere" / "loop")
    layout = read_layout(tmp_path / "own")
    assert [path.name for path, _ in layout.splits["train"]] == ["x.png"] and layout.classes == ("a",)


def test_the_shared_emoji_have_four_styles_in_two_splits(shared_data: Path) -> None:
    layout = read_layout(shared_data / "emoji_styles_64")
    assert layout.classes == ("noto", "openmoji_black", "openmoji_color", "twemoji")
    assert {name: len(rows) for name, rows in layout.splits.items()} == {"train": 5940, "test": 604}
    assert not layout.strays
