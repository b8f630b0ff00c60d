"""The contract of every shipped data set, small where it is slow, and what is particular to each."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from genjax_art.data import procedural_art
from genjax_art.data.art_styles import PALETTES, STYLES, draw
from genjax_art.data.batches import batch_at
from genjax_art.data.builder import ShippedBuilder, find_builder, shipped_names
from genjax_art.data.image_folder import read_layout
from genjax_art.data.mnist_5k import read_digits
from genjax_art.data.pictures import fit_picture, to_mode
from genjax_art.data.procedural_art import draw_example
from genjax_art.data.source import DataError, Source, open_source
from genjax_art.spec import ArraySpec, Kind

PICTURES = ("mnist_5k", "procedural_art", "image_folder")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where these tests prepare sets, each once; decoding is done anew in every test."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(autouse=True)
def own_folders(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's home is read or written, and drawing takes no time."""
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    monkeypatch.setattr(procedural_art, "TRAIN_PER_STYLE", 3)
    monkeypatch.setattr(procedural_art, "TEST_PER_STYLE", 1)


def write(path: Path, shape: tuple[int, ...] = (40, 30, 3), seed: int = 0, mode: str | None = None) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    picture = Image.fromarray(levels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small labelled folder, with both splits."""
    for split, count in (("train", 4), ("test", 2)):
        for seed in range(count):
            write(tmp_path / "own" / split / "Cats" / f"{seed}.png", seed=seed)
            write(tmp_path / "own" / split / "big dogs" / f"{seed}.PNG", seed=100 + seed)
    return tmp_path / "own"


def arrays(source: Source) -> dict[str, np.ndarray]:
    return source.take(np.arange(len(source)))


# the contract


def test_the_shipped_sets_are_the_files_of_the_room() -> None:
    assert set(PICTURES) <= set(shipped_names())
    assert find_builder("builder") is None and find_builder("os.path") is None


def test_every_shipped_set_is_described_in_its_file() -> None:
    for name in shipped_names():
        builder = find_builder(name)
        assert builder is not None and builder.name == name
        assert builder.kind in get_args(Kind) and builder.low < builder.high
        assert str(builder.VERSION) in builder.RELEASE_NOTES
        assert sys.modules[builder.__module__].__doc__


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_source_holds_what_its_spec_says(name: str, split: str, folder: Path) -> None:
    source = open_source(name, split=split, folder=folder if name == "image_folder" else None)
    rows = arrays(source)
    assert rows["x"].shape == (len(source), *source.spec.shape) and rows["x"].dtype == np.uint8
    assert source.spec.kind == "image" and len(np.unique(rows["x"])) > 3
    assert rows["label"].dtype == np.int32
    assert set(rows["label"].tolist()) == set(range(len(source.spec.classes)))  # all in range, all present
    batch = batch_at(source, 3, batch_size=5, seed=0)
    assert batch.keys() == {"x", "label"}
    assert batch["x"].min() >= source.spec.low and batch["x"].max() <= source.spec.high


@pytest.mark.parametrize("name", PICTURES)
def test_preparing_twice_gives_the_same_bytes(name: str, folder: Path, prepared: Path, tmp_path: Path) -> None:
    own = folder if name == "image_folder" else None
    one, two = (
        arrays(open_source(name, split="test", data_dir=place, folder=own)) for place in (prepared, tmp_path / "two")
    )
    assert one.keys() == two.keys()
    for key, rows in one.items():
        np.testing.assert_array_equal(rows, two[key])


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("size", "channels"), [((24, 40), 1), ((48, 16), 4)])
def test_any_size_and_channels(name: str, size: tuple[int, int], channels: int, folder: Path) -> None:
    own = folder if name == "image_folder" else None
    source = open_source(name, split="test", folder=own, size=size, channels=channels)
    x = arrays(source)["x"]
    assert source.spec.shape == (*size, channels) == x.shape[1:]
    if channels == 4:
        assert (x[..., 3] == 255).all()


def test_the_whole_room_works_without_tensorflow(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    code = (
        "import sys; from genjax_art.data import procedural_art as art; from genjax_art.data.source import open_source;"
        "art.TRAIN_PER_STYLE = art.TEST_PER_STYLE = 1; open_source('procedural_art');"
        f"open_source('image_folder', folder={str(folder)!r});"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [
        ["preparing", "procedural_art"],
        ["preparing", "image_folder"],
    ]


class Rolls(ShippedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Something that is no picture: example i holds i, in floats."""

    name = "rolls_for_tests"
    VERSION = tfds.core.Version("1.0.0")
    kind: ClassVar[Kind] = "roll"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 10.0

    def _info(self) -> tfds.core.DatasetInfo:
        x = tfds.features.Tensor(shape=(4, 2, 1), dtype=np.float32, encoding="zlib")
        features = tfds.features.FeaturesDict({"x": x, "piece": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(10):
            yield i, {"x": np.full((4, 2, 1), i, np.float32), "piece": i}


def test_what_is_no_picture_passes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genjax_art.data.records.find_builder", lambda name: Rolls)
    source = open_source("rolls_for_tests")
    assert source.spec == ArraySpec((4, 2, 1), 0.0, 10.0, "roll")
    rows = arrays(source)
    assert rows["x"].dtype == np.float32 and rows["piece"].dtype == np.int32
    np.testing.assert_array_equal(rows["x"], np.broadcast_to(rows["piece"][:, None, None, None], (10, 4, 2, 1)))
    assert sorted(rows["piece"].tolist()) == list(range(10))
    again = arrays(open_source("rolls_for_tests"))
    np.testing.assert_array_equal(again["x"], rows["x"])
    with pytest.raises(DataError, match="holds no pictures"):
        open_source("rolls_for_tests", size=(4, 4))


def test_another_process_may_be_faster_at_preparing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Overtaken(Rolls, skip_registration=True):  # type: ignore[call-arg]
        name = "rolls_for_tests"

        def download_and_prepare(self, **arguments: Any) -> None:
            Rolls(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
            super().download_and_prepare(**arguments)
            raise FileExistsError("Destination already exists.")

    monkeypatch.setattr("genjax_art.data.records.find_builder", lambda name: Overtaken)
    assert len(open_source("rolls_for_tests", data_dir=tmp_path)) == 10


# mnist_5k


def test_mnist_5k_holds_every_digit_once_and_out_of_order() -> None:
    train, test = (arrays(open_source("mnist_5k", split=split)) for split in ("train", "test"))
    for split, count in ((train, 450), (test, 50)):
        np.testing.assert_array_equal(np.bincount(split["label"]), [count] * 10)
        assert (split["label"] != np.sort(split["label"])).mean() > 0.5
    images, labels = read_digits()
    rows = sorted((x.tobytes(), label) for x, label in zip(images, labels.tolist(), strict=True))
    both = [
        (x.tobytes(), int(label)) for part in (train, test) for x, label in zip(part["x"], part["label"], strict=True)
    ]
    assert sorted(both) == rows


# procedural_art


def test_art_is_a_function_of_index_and_size() -> None:
    one, factors = draw_example(7, 32)
    same, same_factors = draw_example(7, 32)
    np.testing.assert_array_equal(one, same)
    assert factors == same_factors
    assert (draw_example(7 + len(STYLES), 32)[0] != one).any()


def test_art_at_64_pixels_is_the_same_drawing() -> None:
    for index in range(len(STYLES)):
        small, factors = draw_example(index, 32)
        large, same_factors = draw_example(index, 64)
        assert factors == same_factors
        shrunk = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3), dtype=np.float32)
        assert np.abs(shrunk - small).mean() < 10, factors["label"]  # of 255: only the supersampling differs


def test_art_keeps_the_factors_beside_the_pictures() -> None:
    source = open_source("procedural_art")
    rows = arrays(source)
    assert source.spec.classes == tuple(STYLES) and len(STYLES) >= 10
    np.testing.assert_array_equal(np.bincount(rows["label"]), [3] * len(STYLES))
    drawn = {draw_example(i, 32)[0].tobytes(): draw_example(i, 32)[1] for i in range(3 * len(STYLES))}
    for i, x in enumerate(rows["x"]):
        factors = drawn[x.tobytes()]
        assert source.spec.classes[rows["label"][i]] == factors["label"]
        for name in ("palette", "scale", "rotation", "position_x", "position_y"):
            assert rows[name][i] == pytest.approx(factors[name], rel=1e-6)


def test_the_factors_span_their_ranges() -> None:
    factors = [draw_example(i, 4)[1] for i in range(240)]
    for name, low, high in (
        ("scale", 0.7, 1.4),
        ("rotation", -np.pi / 4, np.pi / 4),
        ("position_x", -0.5, 0.5),
        ("position_y", -0.5, 0.5),
    ):
        values = np.array([f[name] for f in factors])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert {f["palette"] for f in factors} == set(range(len(PALETTES)))


def test_every_style_uses_only_the_palette_and_at_least_two_of_it() -> None:
    for style in STYLES:
        x = draw(
            style, 48, palette=3, scale=1.0, rotation=0.3, x=0.1, y=0.0, rng=np.random.default_rng(1), oversampling=1
        )
        colours = {"".join(f"{level:02x}" for level in pixel) for pixel in x.reshape(-1, 3).tolist()}
        assert colours <= set(PALETTES[3]) and len(colours) > 1, style


def test_position_moves_the_drawing() -> None:
    """Moving the origin by whole pixels moves the picture by as many."""
    for style in STYLES:
        still, moved = (
            draw(style, 32, palette=0, scale=1.0, rotation=0.2, x=x, y=-2 * x, rng=np.random.default_rng(5))
            for x in (0.0, 0.25)
        )
        same = (still[8:, :-4] == moved[:-8, 4:]).all(axis=-1)
        assert same.mean() > 0.97, (style, same.mean())  # rounding may turn a sample at an edge


def test_styles_can_be_told_apart_by_shape_alone() -> None:
    """A nearest-centroid rule on grey spectra, which know no colour or place, beats chance by far."""

    def spectrum(index: int) -> np.ndarray:
        grey = draw_example(index, 32)[0].astype(np.float64).mean(-1)
        power = np.abs(np.fft.fft2((grey - grey.mean()) / (grey.std() + 1e-9)))
        return np.log1p(power)

    count = len(STYLES)
    features = np.stack([spectrum(i) for i in range(30 * count)]).reshape(30, count, -1)
    centroids = features[:20].mean(axis=0)
    distances = ((features[20:, :, None] - centroids[None, None]) ** 2).sum(-1)
    accuracy = (distances.argmin(-1) == np.arange(count)).mean()
    assert accuracy > 0.5, accuracy  # chance: 1/12


# image_folder


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (9, 7)), ("RGB", (9, 7, 3)), ("RGBA", (9, 7, 4)), ("LA", (9, 7, 4)), ("P", (9, 7, 3)), ("1", (9, 7))],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_mode_becomes_the_channels_asked_for(mode: str, shape: tuple[int, ...], channels: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    x = fit_picture(Image.fromarray(levels).convert(mode), (5, 6), channels)
    assert x.shape == (5, 6, channels) and x.dtype == np.uint8


def test_dropped_transparency_is_laid_on_white() -> None:
    x = np.zeros((4, 4, 4), np.uint8)
    x[:2] = (200, 0, 0, 255)
    x[2:] = (0, 0, 0, 128)
    rgb = fit_picture(Image.fromarray(x), (4, 4), 3)
    assert rgb[0, 0].tolist() == [200, 0, 0]
    np.testing.assert_allclose(rgb[3, 3].astype(int), 255 * (1 - 128 / 255), atol=1)
    np.testing.assert_array_equal(fit_picture(Image.fromarray(x), (4, 4), 4), x)


def test_transparent_palettes_are_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 3), 0)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(tmp_path / "x.gif", transparency=0)
    with Image.open(tmp_path / "x.gif") as gif:
        assert (fit_picture(gif, (3, 3), 3) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.array([[0, 32768], [65535, 257]], np.uint16)
    assert np.asarray(to_mode(Image.fromarray(levels), 1)).tolist() == [[0, 128], [255, 1]]


def test_scaling_crops_the_centre_and_keeps_proportions() -> None:
    x = np.zeros((60, 100), np.uint8)
    x[:, 20:80] = 255  # the central square, white
    assert (fit_picture(Image.fromarray(x), (30, 30), 1)[1:-1, 1:-1] >= 254).all()
    wide = fit_picture(Image.fromarray(x.T), (20, 40), 1)  # of 100x60, rows 35 to 65 remain
    assert wide.shape == (20, 40, 1) and (wide >= 254).all()


def test_scaling_down_is_antialiased() -> None:
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    inside = fit_picture(Image.fromarray(checks), (16, 16), 1)[2:-2, 2:-2]
    np.testing.assert_allclose(inside.astype(int), 127.5, atol=3)


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    x = np.zeros((20, 40, 3), np.uint8)
    x[:, :20] = 255  # the left half is white; turned by 90 degrees clockwise, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "own" / "turned.jpg"
    path.parent.mkdir()
    Image.fromarray(x).save(path, exif=exif, quality=95)
    (turned,) = arrays(open_source("image_folder", folder=path.parent, size=(40, 20)))["x"]
    assert (turned[:18] > 240).all() and (turned[22:] < 15).all()


def test_labels_are_folder_names_and_rows_keep_them(folder: Path) -> None:
    source = open_source("image_folder", folder=folder, size=(40, 30))
    rows = arrays(source)
    assert source.spec.classes == ("Cats", "big dogs")  # sorted, case kept
    expected = {}
    for label, name in enumerate(source.spec.classes):
        for path in sorted((folder / "train" / name).iterdir()):
            with Image.open(path) as picture:
                expected[np.asarray(picture).tobytes()] = label
    assert {x.tobytes(): label for x, label in zip(rows["x"], rows["label"].tolist(), strict=True)} == expected


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for i, ending in enumerate(("png", "JPG", "jpeg", "WebP", "bmp", "gif")):
        write(tmp_path / "own" / f"{i}.{ending}", seed=i)
    (tmp_path / "own" / ".hidden.png").write_text("no picture")
    (tmp_path / "own" / "notes.txt").write_text("no picture")
    source = open_source("image_folder", folder=tmp_path / "own")
    assert len(source) == 6 and source.spec.classes == () and set(arrays(source)) == {"x"}
    assert source.spec.shape == (64, 64, 3)  # the default
    with pytest.raises(DataError, match="no split 'test': choose from train, all"):
        open_source("image_folder", folder=tmp_path / "own", split="test")


def test_pictures_beside_the_layout_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(3):
        write(tmp_path / "own" / "a" / f"{i}.png", seed=i)
    write(tmp_path / "own" / "top.png")
    write(tmp_path / "own" / "a" / "deep" / "nested.png")
    assert len(open_source("image_folder", folder=tmp_path / "own")) == 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert "left out 2" in message and "top.png" in message and "nested.png" in message


def broken_folder(path: Path, good: int, broken: int) -> Path:
    for i in range(good):
        write(path / "a" / f"{i}.png", (3, 3, 3), seed=i)
    whole = write(path / "a" / "0.png", (64, 64, 3)).read_bytes()
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
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def prepared() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (tmp_path / "tfds").rglob("dataset_info.json")}

    first = arrays(open_source("image_folder", folder=folder))["x"]
    before = prepared()
    for path in (tmp_path / "cache" / "decoded").iterdir():
        path.unlink()
    np.testing.assert_array_equal(arrays(open_source("image_folder", folder=folder))["x"], first)
    assert prepared() == before and len(before) == 1
    write(folder / "train" / "Cats" / "0.png", seed=77)
    second = arrays(open_source("image_folder", folder=folder))["x"]
    assert second.shape == first.shape and (second != first).any()
    assert len(prepared()) == 2
    write(folder / "train" / "Cats" / "new.webp")
    assert len(open_source("image_folder", folder=folder)) == len(first) + 1


def no_pictures(path: Path) -> None:
    (path / "a").mkdir(parents=True)
    (path / "a" / "x.txt").write_text("")


def mixed(path: Path) -> None:
    for i in range(3):
        write(path / f"{i}.png")
    write(path / "a" / "x.png")


def too_deep(path: Path) -> None:
    write(path / "a" / "b" / "x.png")


def half_labelled(path: Path) -> None:
    write(path / "train" / "a" / "x.png")
    write(path / "test" / "x.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_pictures, "holds no pictures"),
        (mixed, "3 pictures itself and 1 in folders"),
        (too_deep, "move them up"),
        (half_labelled, "some of its splits only"),
    ],
)
def test_folders_without_a_layout_are_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path / "own")
    with pytest.raises(DataError, match=message) as caught:
        open_source("image_folder", folder=tmp_path / "own")
    assert "\n" not in str(caught.value)


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "x.png")
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
