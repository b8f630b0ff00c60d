"""Picture files: other programs read back what is written, and the same input makes the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_art.errors import UsageError
from genjax_art.latents import closed_walk, slerp
from genjax_art.media.image import (
    enlarge,
    grid,
    on_white,
    read_png_metadata,
    to_uint8,
    write_gif,
    write_mp4,
    write_png,
    write_samples,
)
from genjax_art.media.medium import write
from genjax_art.spec import ArraySpec

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 100, 50], [90, 128, 160]],
    np.uint8,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def samples(spec: ArraySpec, n: int = 5) -> np.ndarray:
    return np.random.default_rng(1).uniform(spec.low, spec.high, (n, *spec.shape)).astype(np.float32)


# numbers to levels


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-3.0, 7.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_level_comes_back(low: float, high: float, dtype: type) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = (low + levels.astype(np.float64) / 255 * (high - low)).astype(dtype)
    np.testing.assert_array_equal(to_uint8(x, ArraySpec((16, 16, 1), low, high)), levels)


def test_halves_go_up_and_the_rest_is_clipped() -> None:
    x = np.array([-9.0, 0.0, 1.0, np.inf, -np.inf], np.float32).reshape(1, 5, 1)
    assert to_uint8(x, ArraySpec((1, 5, 1))).ravel().tolist() == [0, 128, 255, 255, 0]
    x = np.array([0.5, 1.5, 2.5, 3.25, 254.5], np.float32).reshape(1, 5, 1)
    assert to_uint8(x, ArraySpec((1, 5, 1), 0.0, 255.0)).ravel().tolist() == [1, 2, 3, 3, 255]


def test_nan_is_refused_with_its_count() -> None:
    x = np.full((2, 2, 1), np.nan, np.float32)
    with pytest.raises(ValueError, match="4 NaN"):
        to_uint8(x, ArraySpec((2, 2, 1)))


# grid


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("n", "columns", "padding", "scale"), [(5, None, 2, 1), (7, 3, 0, 2), (1, 4, 1, 3), (4, None, 3, 1)]
)
def test_grid_layout_is_exact(channels: int, n: int, columns: int | None, padding: int, scale: int) -> None:
    images = noise(n, 4, 6, channels)
    sheet = grid(images, columns, padding, scale)
    wide = min(n, columns or {5: 3, 4: 2}[n])
    high = -(-n // wide)
    h, w = 4 * scale, 6 * scale
    assert sheet.shape == (padding + high * (h + padding), padding + wide * (w + padding), channels)
    expected = np.full_like(sheet, 255)
    for i in range(n):
        top, left = padding + (i // wide) * (h + padding), padding + (i % wide) * (w + padding)
        for row in range(h):
            for column in range(w):
                expected[top + row, left + column] = images[i, row // scale, column // scale]
    np.testing.assert_array_equal(sheet, expected)


def test_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        grid(noise(0, 4, 4, 1))


# PNG


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_has_the_pixels_and_the_metadata(tmp_path: Path, channels: int, mode: str) -> None:
    image, path = noise(9, 7, channels), tmp_path / "deep" / "x.png"
    metadata = {"seed": "0", "parameters": "ab12", "title": "Käse 数字"}
    write_png(path, image, metadata)
    with Image.open(path) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)
    assert read_png_metadata(path) == metadata
    first = path.read_bytes()
    write_png(path, image, dict(reversed(metadata.items())))
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["x.png"]  # no temporary file is left


def test_two_channels_are_refused_and_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_png(path, noise(4, 4, 3), {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="2 channels"):
        write_png(path, noise(4, 4, 2), {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_metadata_of_no_png(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(ValueError, match="not a PNG"):
        read_png_metadata(tmp_path / "x.png")


# films


def test_on_white_matches_pillow() -> None:
    frames = noise(3, 8, 8, 4)
    for frame, flat in zip(frames, on_white(frames), strict=True):
        picture = Image.fromarray(frame)
        sheet = Image.new("RGBA", picture.size, "white")
        sheet.alpha_composite(picture)
        assert np.abs(np.asarray(sheet)[..., :3].astype(int) - flat).max() <= 1  # Pillow rounds twice


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gif_keeps_frames_loop_and_colours(tmp_path: Path, channels: int) -> None:
    path, frames = tmp_path / "x.gif", noise(6, 12, 10, channels)
    write_gif(path, frames, 30, {"seed": "3"})
    durations = []
    with Image.open(path) as read:
        assert (read.n_frames, read.info["loop"], read.info["comment"]) == (6, 0, b'{"seed": "3"}')
        for i, frame in enumerate(on_white(frames)):
            read.seek(i)
            durations.append(read.info["duration"])
            got = np.asarray(read.convert("RGB")).astype(int)
            # 120 pixels fit into a palette of 256
            np.testing.assert_array_equal(got, np.broadcast_to(frame, got.shape))
    assert sum(durations) == 200  # six frames at 30 a second, though one alone cannot last 33.3 ms
    first = path.read_bytes()
    write_gif(path, frames, 30, {"seed": "3"})
    assert path.read_bytes() == first


@pytest.mark.parametrize("fps", [0.0, 51.0, float("nan")])
def test_gif_refuses_rates_it_cannot_hold(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="at most 50"):
        write_gif(tmp_path / "x.gif", noise(2, 4, 4, 1), fps)


def decode(path: Path) -> tuple[np.ndarray, str, str, float]:
    import av

    with av.open(str(path)) as file:
        codec = file.streams.video[0].codec_context
        rate = float(file.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        return frames, codec.name, codec.pix_fmt, rate


def test_mp4_keeps_frames_and_colours(tmp_path: Path) -> None:
    frames = np.ascontiguousarray(np.broadcast_to(COLOURS[:, None, None, :], (7, 31, 45, 3)))
    write_mp4(tmp_path / "x.mp4", frames, 12.5)
    got, codec, pixels, rate = decode(tmp_path / "x.mp4")
    assert (codec, pixels, rate) == ("h264", "yuv420p", 12.5)
    assert got.shape == (7, 32, 46, 3)  # odd sides are made even
    assert np.abs(got.astype(int) - COLOURS[:, None, None, :]).max() <= 4


@pytest.mark.parametrize("channels", [1, 4])
def test_mp4_of_grey_and_transparent_frames(tmp_path: Path, channels: int) -> None:
    blocks = enlarge(noise(5, 4, 4, channels), 16)  # blocks, since a film does not keep single noisy pixels
    write_mp4(tmp_path / "x.mp4", blocks, 10)
    got = decode(tmp_path / "x.mp4")[0].astype(int)
    inside = np.s_[:, 8::16, 8::16]
    want = np.broadcast_to(on_white(blocks)[inside], got[inside].shape)
    assert np.abs(got[inside] - want).max() <= 12


def test_mp4_makes_the_same_bytes_and_starts_with_its_index(tmp_path: Path) -> None:
    frames = noise(4, 32, 32, 3)
    for name in "ab":
        write_mp4(tmp_path / f"{name}.mp4", frames, 20, {"seed": "0"})
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # so that a browser shows it while it loads


@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_no_frames_are_refused(tmp_path: Path, write) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write(tmp_path / "x", noise(0, 4, 4, 1), 10)


# samples by ending


def test_png_samples_are_an_enlarged_grid(tmp_path: Path) -> None:
    spec = ArraySpec((28, 20, 1))
    x = samples(spec)
    assert write_samples(tmp_path / "x.png", x, spec, {"seed": "7"}) == [tmp_path / "x.png"]
    with Image.open(tmp_path / "x.png") as read:
        np.testing.assert_array_equal(np.asarray(read), grid(to_uint8(x, spec), scale=2)[..., 0])
    assert read_png_metadata(tmp_path / "x.png") == {"seed": "7"}


def test_a_folder_gets_single_pngs_and_keeps_its_other_files(tmp_path: Path) -> None:
    spec = ArraySpec((5, 4, 3))
    x, folder = samples(spec, 3), tmp_path / "folder.v2"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    paths = write_samples(folder, x, spec, {"seed": "7"})  # it exists, whatever its ending
    assert [path.name for path in paths] == ["00000.png", "00001.png", "00002.png"]
    assert (folder / "notes.txt").read_text() == "mine"
    for i, path in enumerate(paths):
        with Image.open(path) as read:
            np.testing.assert_array_equal(np.asarray(read), to_uint8(x, spec)[i])
        assert read_png_metadata(path) == {"seed": "7", "index": str(i)}
    assert len(write_samples(tmp_path / "new", x, spec, {})) == 3 == len(list((tmp_path / "new").iterdir()))


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_film_samples_have_a_frame_for_each_picture(tmp_path: Path, ending: str) -> None:
    spec = ArraySpec((28, 28, 1))
    write_samples(tmp_path / f"x{ending}", samples(spec), spec, {})
    frames, *_ = decode(tmp_path / f"x{ending}")
    assert frames.shape == (5, 224, 224, 3)  # enlarged eight times


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.mp4"])
def test_the_same_samples_make_the_same_bytes(tmp_path: Path, name: str) -> None:
    spec = ArraySpec((8, 8, 3))
    x = samples(spec)
    (first,) = write_samples(tmp_path / name, x, spec, {"seed": "7"})
    before = first.read_bytes()
    write_samples(first, x[::-1].copy(), spec, {"seed": "7"})
    assert first.read_bytes() != before
    write_samples(first, x, spec, {"seed": "7"})
    assert first.read_bytes() == before


def test_unknown_endings_and_wrong_arrays_are_named(tmp_path: Path) -> None:
    spec = ArraySpec((8, 8, 3))
    with pytest.raises(ValueError, match=r"'\.jpg'.*\.png, \.gif, \.mp4, \.npz") as error:
        write_samples(tmp_path / "x.jpg", samples(spec), spec, {})
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"\(8, 8, 3\)"):
        write(tmp_path / "x.png", samples(ArraySpec((8, 8, 1))), spec, {})
    with pytest.raises(UsageError, match=r"unknown medium 'sculpture'; known: .*image"):
        write(tmp_path / "x.png", samples(spec), ArraySpec((8, 8, 3), kind="sculpture"), {})
    assert not list(tmp_path.iterdir())


# walks


def test_slerp_turns_evenly_on_the_circle() -> None:
    t = np.linspace(0, 1, 7)[:, None]
    a, b = np.tile([2.0, 0.0], (7, 1)), np.tile([0.0, 2.0], (7, 1))
    quarter = np.pi / 2 * t[:, 0]
    np.testing.assert_allclose(slerp(a, b, t), 2 * np.stack([np.cos(quarter), np.sin(quarter)], -1), atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_slerp_of_parallel_and_opposite_latents_is_the_straight_line(factor: float) -> None:
    a = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(slerp(a, factor * a, np.array([[0.25]])), (0.75 + 0.25 * factor) * a, atol=1e-9)


def test_closed_walk_passes_its_anchors_and_closes() -> None:
    anchors = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    z = closed_walk(anchors, 40)
    assert (z.shape, z.dtype) == ((40, 64), np.float32)
    np.testing.assert_allclose(z[::10], anchors, atol=1e-6)
    steps = np.linalg.norm(np.roll(z, -1, axis=0) - z, axis=1)
    assert steps.max() < 2 * steps.min()  # the seam, too, is a step like the others
    radii = np.linalg.norm(anchors, axis=1)
    assert np.linalg.norm(z, axis=1).min() > 0.9 * radii.min()  # a straight line would dip to 0.7
    with pytest.raises(ValueError, match="2 anchors"):
        closed_walk(anchors[:1], 40)
