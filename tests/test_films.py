"""Clip files as frames: times, turns, alpha, strips, folders, and what is no clip."""

import struct
import subprocess
import sys
import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_art import films
from genjax_art.errors import RunError
from genjax_art.films import Unfit, Wanted, read_clips, read_frames

GREYS = (0, 60, 120, 180, 240)


def plain(level: int, width: int = 16, height: int = 16) -> Image.Image:
    return Image.new("RGB", (width, height), (level, level, level))


def levels(path: Path, rate: float | None = None, **options) -> list[int]:
    """The grey of the middle of each frame, as the nearest of `GREYS`."""
    middle = [int(x[4, 4, 0]) for x in read_frames(path, Wanted((8, 8), 1, rate, **options))]
    return [min(GREYS, key=lambda grey: abs(grey - level)) for level in middle]


def animation(path: Path, greys: Sequence[int], milliseconds: Sequence[int]) -> Path:
    first, *rest = [plain(grey) for grey in greys]
    first.save(path, save_all=True, append_images=rest, duration=list(milliseconds), lossless=True)
    return path


def video(
    path: Path, frames: Sequence[np.ndarray], times: Sequence[int], *, codec="libx264", pix="yuv420p", wide=1, **options
):
    """A film whose frames begin at `times` in 1/100 s."""
    import av

    height, width, channels = frames[0].shape
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix
        stream.codec_context.time_base = Fraction(1, 100)
        stream.codec_context.sample_aspect_ratio = Fraction(wide)
        stream.options = options
        for x, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(x, format="rgba" if channels == 4 else "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def grey_video(path: Path, greys: Sequence[int], times: Sequence[int], **options) -> Path:
    return video(path, [np.full((16, 16, 3), grey, np.uint8) for grey in greys], times, **options)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_frames_of_varying_lengths_are_sampled_in_time(tmp_path: Path, ending: str) -> None:
    path = animation(tmp_path / f"x.{ending}", GREYS, [100, 300, 100, 200, 100])
    assert levels(path) == list(GREYS)
    assert levels(path, 10.0) == [0, 60, 60, 60, 120, 180, 180, 240]
    assert levels(path, 5.0) == [60, 60, 180, 240]  # at 0.1, 0.3, 0.5 and 0.7 s
    assert levels(path, 10.0, stride=3) == [0, 60, 180]


def test_a_gif_without_delays_has_ten_frames_a_second(tmp_path: Path) -> None:
    assert levels(animation(tmp_path / "x.gif", GREYS, [0] * 5), 20.0) == [grey for grey in GREYS for _ in range(2)]


def test_what_a_gif_disposes_of_and_does_not_cover(tmp_path: Path) -> None:
    """A dot that moves on a transparent ground: each frame shows one dot, on white."""
    frames = []
    for i in range(4):
        frame = Image.new("RGBA", (16, 8), (0, 0, 0, 0))
        frame.paste((200, 30, 30, 255), (4 * i, 2, 4 * i + 4, 6))
        frames.append(frame)
    for ending, options in (
        ("gif", {"disposal": 2}),
        ("webp", {"lossless": True, "kmin": 1, "kmax": 1}),
        ("png", {"disposal": 1}),
    ):
        path = tmp_path / f"x.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
        for i, x in enumerate(read_frames(path, Wanted((8, 16), 3, None))):
            expected = np.full((8, 16, 3), 255)
            expected[2:6, 4 * i : 4 * i + 4] = (200, 30, 30)
            np.testing.assert_allclose(x, expected, atol=8, err_msg=f"{ending} {i}")
        (first, *_) = read_frames(path, Wanted((8, 16), 4, None))
        assert first[0, 0, 3] == 0 and first[3, 1, 3] == 255


def test_the_still_picture_of_an_apng_is_no_frame(tmp_path: Path) -> None:
    plain(240).save(
        tmp_path / "x.png", save_all=True, append_images=[plain(0), plain(60)], default_image=True, duration=100
    )
    assert levels(tmp_path / "x.png") == [0, 60]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_a_film_of_a_varying_rate_is_sampled_by_its_times(tmp_path: Path, ending: str) -> None:
    path = grey_video(tmp_path / f"x.{ending}", GREYS, [50, 60, 90, 100, 120])
    assert levels(path) == list(GREYS)
    assert levels(path, 10.0)[:7] == [0, 60, 60, 60, 120, 180, 180]
    assert set(levels(path, 10.0)[7:]) <= {240}  # the containers differ in how long the last frame is


def test_a_film_keeps_its_colours(tmp_path: Path) -> None:
    from genjax_art.media.image import enlarge, write_mp4

    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]]], np.uint8)
    x = enlarge(np.broadcast_to(colours, (3, 1, 4, 3)), 16)
    write_mp4(tmp_path / "x.mp4", x, 8.0)
    for found in read_frames(tmp_path / "x.mp4", Wanted((16, 64), 3, 8.0)):
        np.testing.assert_allclose(found[8:9, 8::16].astype(int), colours, atol=3)


def turned(path: Path, matrix: tuple[int, ...]) -> Path:
    """The same MP4 with a display matrix."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "stored"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((0, 1, -1, 0), lambda x: np.rot90(x, 1)),  # to be turned clockwise: stored the other way
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 3)),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    ],
)
def test_a_turned_film_is_upright(tmp_path: Path, matrix: tuple[int, ...], stored) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255
    upright[16:, :24] = 120
    path = turned(video(tmp_path / "x.mp4", [np.ascontiguousarray(stored(upright))] * 2, [0, 10]), matrix)
    for x in read_frames(path, Wanted((32, 48), 3, None)):
        np.testing.assert_allclose(x.astype(int), upright, atol=40)
        assert abs(x.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("ending", "codec", "pix", "off"),
    [("mov", "qtrle", "argb", 0), ("webm", "libvpx-vp9", "yuva420p", 8), ("webm", "libvpx", "yuva420p", 8)],
)
def test_a_transparent_film_lies_on_white(tmp_path: Path, ending: str, codec: str, pix: str, off: int) -> None:
    x = np.zeros((32, 32, 4), np.uint8)
    x[:16] = (200, 30, 30, 255)
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    path = video(tmp_path / f"x.{ending}", [x, x], [0, 10], codec=codec, pix=pix, **options)
    frames = list(read_frames(path, Wanted((32, 32), 3, None)))
    assert len(frames) == 2
    for found in frames:
        assert np.abs(found[:14].astype(int) - [200, 30, 30]).max() <= off
        assert (found[18:] >= 255 - off).all()
    (alpha, _) = (found[..., 3] for found in read_frames(path, Wanted((32, 32), 4, None)))
    assert alpha[:14].min() >= 255 - off and alpha[18:].max() <= off


def test_odd_sizes_are_scaled_and_cropped_around_the_middle(tmp_path: Path) -> None:
    x = np.zeros((17, 39, 3), np.uint8)
    x[:, 11:28] = 255
    path = video(tmp_path / "x.mkv", [x, x], [0, 10], codec="ffv1", pix="bgr0")
    for found in read_frames(path, Wanted((17, 17), 1, None)):
        assert (found == 255).all()


def test_pixels_that_are_no_squares_become_squares(tmp_path: Path) -> None:
    x = np.zeros((32, 16, 3), np.uint8)
    x[:, 8:] = 240
    path = video(tmp_path / "x.mp4", [x, x], [0, 10], wide=2)
    for found in read_frames(path, Wanted((32, 32), 1, None)):
        assert found[:, :12].max() < 20 and found[:, 20:].min() > 220


def test_strips_and_folders_of_frames(tmp_path: Path) -> None:
    x = np.concatenate([np.full((16, 16, 3), grey, np.uint8) for grey in GREYS], 1)
    Image.fromarray(x).save(tmp_path / "strip.png")
    Image.fromarray(x.transpose(1, 0, 2)).save(tmp_path / "column.bmp")
    Image.fromarray(x[:, :64]).resize((32, 16)).save(tmp_path / "narrow.png")
    assert levels(tmp_path / "strip.png", 30.0) == levels(tmp_path / "column.bmp") == list(GREYS)
    assert levels(tmp_path / "narrow.png", strip=4) == list(GREYS[:4])
    (tmp_path / "frames").mkdir()
    for i, grey in enumerate([*GREYS, *GREYS, *GREYS]):
        plain(grey).save(tmp_path / "frames" / f"frame_{i}.png")
    assert levels(tmp_path / "frames", 5.0) == [*GREYS, *GREYS, *GREYS]  # 10 after 9
    assert levels(tmp_path / "frames", stride=2) == [*GREYS[::2], *GREYS[1::2], *GREYS[::2]]


def test_warnings_are_ignored_while_a_file_is_read_only(tmp_path: Path) -> None:
    frames = read_frames(animation(tmp_path / "x.gif", GREYS, [100] * 5), Wanted((8, 8), 1, None))
    next(frames)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_a_frame_that_never_ends_is_none(tmp_path: Path) -> None:
    path = grey_video(tmp_path / "x.mkv", GREYS, [0, 10, 20, 30, 100_000_000])
    with pytest.raises(Unfit, match=r"a frame is shown for \d+ s; at most 60 are read"):
        list(read_frames(path, Wanted((8, 8), 1, 10.0)))


def test_clips_are_consecutive_and_whole(tmp_path: Path) -> None:
    path = animation(tmp_path / "x.gif", [*GREYS, *GREYS], [100] * 10)
    wanted = Wanted((8, 8), 1, 10.0)
    clips = list(read_clips(path, 4, wanted))
    assert [clip.shape for clip in clips] == [(4, 8, 8, 1)] * 2
    np.testing.assert_array_equal(np.concatenate(clips)[:, 0, 0, 0], [0, 60, 120, 180, 240, 0, 60, 120])
    assert len(list(read_clips(path, 2, wanted, most=3))) == 3
    with pytest.raises(Unfit, match="it has 10 frames at 10 a second, a clip 11"):
        list(read_clips(path, 11, wanted))


def test_no_more_is_decoded_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = grey_video(tmp_path / "x.mp4", GREYS * 40, range(0, 2000, 10))
    decoded, converted = [0], [0]
    timed, fit_picture = films._timed, films.fit_picture

    def counted(*arguments):
        for frame in timed(*arguments):
            decoded[0] += 1
            yield frame

    def fitted(*arguments):
        converted[0] += 1
        return fit_picture(*arguments)

    monkeypatch.setattr(films, "_timed", counted)
    monkeypatch.setattr(films, "fit_picture", fitted)
    assert len(list(read_clips(path, 4, Wanted((8, 8), 1, 10.0), most=2))) == 2
    assert (decoded[0], converted[0]) == (8, 8)
    assert len(list(read_clips(path, 2, Wanted((8, 8), 1, 10.0, stride=50)))) == 2
    assert (decoded[0], converted[0]) == (8 + 200, 8 + 4)


def test_what_is_no_clip_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    (tmp_path / "empty.gif").write_bytes(b"")
    plain(0).save(tmp_path / "one.gif")
    plain(0, 40).save(tmp_path / "wide.png")
    (tmp_path / "frames").mkdir()
    plain(0).save(tmp_path / "frames" / "0.png")
    plain(0, 20).save(tmp_path / "frames" / "1.png")
    Image.new("1", (5000, 5000)).save(tmp_path / "large.png")
    whole = grey_video(tmp_path / "whole.mp4", GREYS * 10, range(0, 500, 10)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    messages = {
        "text.mp4": "Invalid data",
        "list.mp4": "Invalid data|not on whitelist|Invalid argument",
        "empty.gif": "cannot identify",
        "one.gif": "it is a still picture of 16x16, neither an animation nor a strip of squares",
        "wide.png": "still picture of 40x16",
        "frames": "frames have different sizes, 0.png and 1.png: 16x16 and 20x16",
        "large.png": "25 million pixels; at most 17 are read",
        "half.mp4": "Invalid data",
    }
    for name, message in messages.items():
        with pytest.raises((OSError, ValueError), match=message):
            list(read_frames(tmp_path / name, Wanted((8, 8), 1, None)))


def test_memory_is_bounded_however_long_a_film_is(tmp_path: Path) -> None:
    for name, times in (("short", 10), ("long", 300)):
        grey_video(tmp_path / f"{name}.mp4", GREYS * times, range(0, 20 * times, 4), codec="mpeg4")
    code = (
        "import resource, sys; from pathlib import Path; from genjax_art.films import Wanted, read_clips\n"
        "for name in sys.argv[1:]:\n"
        "    n = sum(1 for _ in read_clips(Path(name), 10, Wanted((128, 128), 3, 25.0)))\n"
        "    print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    films = [str(tmp_path / f"{name}.mp4") for name in ("short", "long")]
    done = subprocess.run([sys.executable, "-c", code, *films], capture_output=True, text=True, check=True)
    few, before, many, after = map(int, done.stdout.split())
    assert (few, many) == (5, 150)  # the latter are 74 MB
    assert after - before < 15  # MB


def test_without_pyav_only_its_films_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "x.mp4").write_text("")
    with pytest.raises(RunError, match=r'need PyAV: pip install -e "\.\[video\]", or name a \.gif'):
        list(read_frames(tmp_path / "x.mp4", Wanted((8, 8), 1, None)))
    assert levels(animation(tmp_path / "x.gif", GREYS, [100] * 5)) == list(GREYS)


def test_frames_are_in_the_order_of_their_numbers_however_cameras_write_them(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for i, grey in enumerate(GREYS):
        plain(grey).save(tmp_path / "frames" / (f"IMG_{i}.PNG" if i % 2 else f"img_{i}.png"))
    assert levels(tmp_path / "frames") == list(GREYS)


def test_a_film_among_frames_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for i, grey in enumerate(GREYS):
        plain(grey).save(tmp_path / "frames" / f"{i}.png")
    animation(tmp_path / "frames" / "a_preview.gif", (0, 240), (100, 100))
    assert levels(tmp_path / "frames") == list(GREYS)


def test_a_turned_strip_is_upright(tmp_path: Path) -> None:
    x = np.concatenate([np.full((16, 16, 3), grey, np.uint8) for grey in GREYS], 1)
    exif = Image.Exif()
    for orientation, stored in ((3, x[::-1, ::-1]), (6, np.rot90(x)), (8, np.rot90(x, -1))):
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"{orientation}.png", exif=exif)
        assert levels(tmp_path / f"{orientation}.png") == list(GREYS), orientation
