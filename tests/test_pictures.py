"""Pictures of every mode and size to one size and number of channels."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from genjax_art import pictures
from genjax_art.pictures import TooLarge, endings, fit_picture, read_picture, to_mode


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


def test_a_transparent_level_of_sixteen_bits_is_laid_on_white() -> None:
    picture = Image.fromarray(np.array([[1000, 257 * 7]], np.uint16))
    picture.info["transparency"] = 1000  # as Pillow reads it from a PNG
    assert fit_picture(picture, (1, 2), 1).tolist() == [[[255], [7]]]
    assert fit_picture(picture, (1, 2), 4)[..., 3].tolist() == [[0, 255]]


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


def png_file(path: Path, rows: list[bytes], width: int, depth: int, colour: int, extra: bytes = b"") -> Path:
    """A PNG of raw rows, whatever the depth; zlib takes even huge ones quickly."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    trns = b"" if not extra else chunk(b"tRNS", extra)
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + trns + data + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("depth", "left", "right", "level"),
    [(1, 0xFF, 0x00, 0), (2, 0xAA, 0x55, 85), (4, 0xAA, 0x55, 85), (8, 200, 60, 60)],
)
def test_a_transparent_level_of_any_depth_is_laid_on_white(
    tmp_path: Path, depth: int, left: int, right: int, level: int
) -> None:
    row = bytes([left] * depth + [right] * depth)  # 16 pixels
    transparent = left if depth == 8 else left & (2**depth - 1)
    path = png_file(tmp_path / "x.png", [row] * 16, 16, depth, 0, struct.pack(">H", transparent))
    grey = read_picture(path, (16, 16), 1)[..., 0]
    assert (grey[:, :8] == 255).all() and (grey[:, 8:] == level).all()
    alpha = read_picture(path, (16, 16), 4)[..., 3]
    assert (alpha[:, :8] == 0).all() and (alpha[:, 8:] == 255).all()


def test_a_transparent_colour_of_sixteen_bits_is_laid_on_white(tmp_path: Path) -> None:
    row = struct.pack(">HHH", 1000, 2000, 3000) + struct.pack(">HHH", 0, 0, 257 * 9)
    path = png_file(tmp_path / "x.png", [row], 2, 16, 2, struct.pack(">HHH", 1000, 2000, 3000))
    assert read_picture(path, (1, 2), 3).tolist() == [[[255, 255, 255], [0, 0, 9]]]


FORMATS = (
    "png",
    "jpg",
    "jfif",
    "tif",
    "avif",
    "webp",
    "bmp",
    "gif",
    "ppm",
    "tga",
    "ico",
    "jp2",
    "pcx",
    "sgi",
    "dds",
    "icns",
)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_the_same_colours(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    assert path.suffix in endings()
    Image.new("RGB", (32, 32), (200, 100, 50)).save(path)
    np.testing.assert_allclose(read_picture(path, (8, 8), 3).astype(int), [[[200, 100, 50]] * 8] * 8, atol=4)


def test_what_is_no_picture_has_no_ending_here() -> None:
    assert not {".pdf", ".eps", ".ps", ".mpg", ".h5", ".wmf", ".txt"} & set(endings())


WIDE = (  # linear values of sRGB's red, green and blue seen with wider primaries: a profile whose gamma is 1
    (0.4361, 0.2225, 0.0139),
    (0.3851, 0.7169, 0.0971),
    (0.1431, 0.0606, 0.7141),
)


def icc_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """A matrix profile (ICC.1:2001, version 2) of these columns in XYZ of D50."""

    def s15(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">i", round(65536 * value)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma)) + bytes(2)
    white = b"XYZ " + bytes(4) + s15((0.9642, 1.0, 0.8249))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    tags = [(b"desc", text), (b"wtpt", white)]
    tags += [(t, b"XYZ " + bytes(4) + s15(c)) for t, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    tags += [(t, curve) for t in (b"rTRC", b"gTRC", b"bTRC")]
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags:
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + s15((0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_colours_of_another_profile_become_srgb(tmp_path: Path) -> None:
    """ProPhoto's primaries and gamma: its (64, 128, 64) is a far stronger green; grey stays grey."""
    prophoto = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))
    x = np.full((4, 4, 3), (100, 140, 100), np.uint8)
    x[2:] = 128
    for name, gamma, columns in (("wide", 1.8, prophoto), ("linear", 1.0, WIDE)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(x).save(path, icc_profile=icc_profile(columns, gamma))
        for channels in (3, 4):
            found = read_picture(path, (4, 4), channels)[..., :3]
            linear = np.asarray(columns).T @ (x[[0, 2], 0].T / 255) ** gamma
            linear = np.linalg.inv(np.asarray(WIDE).T) @ linear
            expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055)
            np.testing.assert_allclose(found[[0, 2], 0].T, (255 * expected).clip(0, 255), atol=3)
            assert np.abs(found[0, 0].astype(int) - x[0, 0]).max() > 10


def test_a_broken_profile_is_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for i, profile in enumerate((b"nonsense", srgb[:200], icc_profile(WIDE, 1.0)[:150], srgb)):
        Image.new("RGB", (4, 4), (200, 100, 50)).save(tmp_path / f"{i}.png", icc_profile=profile)
        assert read_picture(tmp_path / f"{i}.png", (4, 4), 3)[0, 0].tolist() == [200, 100, 50]
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png", icc_profile=srgb)  # of another kind of colours
    assert read_picture(tmp_path / "grey.png", (4, 4), 1)[0, 0].tolist() == [77]


def test_lab_and_inks_have_colours(tmp_path: Path) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = Image.new("RGB", (4, 4), (200, 100, 50))
    converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert converted is not None
    converted.save(tmp_path / "lab.tif")
    picture.convert("CMYK").save(tmp_path / "inks.tif")
    for name in ("lab.tif", "inks.tif"):
        np.testing.assert_allclose(read_picture(tmp_path / name, (4, 4), 3)[0, 0].astype(int), (200, 100, 50), atol=2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
def test_large_pictures_are_reduced_in_strips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str) -> None:
    """With almost the result of resizing at once; also turned."""
    y, x = np.mgrid[:203, :310]
    ramp = Image.fromarray(np.stack([x * 255 // 310, y * 255 // 203, (x + y) * 255 // 513], -1).astype(np.uint8))
    picture = ramp.convert("L").convert("F") if mode == "F" else ramp.convert("L") if mode == "I;16" else ramp
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture = picture if picture.mode == mode else picture.convert(mode)
    path, exif = tmp_path / "x.tif", Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    at_once = read_picture(path, (12, 8), 3)
    monkeypatch.setattr(pictures, "STRIP", 4000)
    np.testing.assert_allclose(read_picture(path, (12, 8), 3).astype(int), at_once.astype(int), atol=14)


def test_a_small_file_of_many_pixels_takes_no_memory(tmp_path: Path) -> None:
    """179 million pixels are refused by the header; 60 million take little more than themselves."""
    refused = png_file(tmp_path / "refused.png", [bytes(13377 * 3)] * 13377, 13377, 8, 2)
    read = png_file(tmp_path / "read.png", [bytes(1000)] * 7500, 8000, 1, 0)
    script = (
        "import resource, sys; from pathlib import Path; from genjax_art.pictures import TooLarge, read_picture\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: print(read_picture(Path(sys.argv[1]), (16, 16), 3).shape)\n"
        "except TooLarge as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    for path, start, most in ((refused, "it has 179 million pixels", 20), (read, "(16, 16, 3)", 120)):
        ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        out = ran.stdout
        assert out.startswith(start)
        assert int(out.split()[-1]) < most
    with pytest.raises(TooLarge, match="at most 67 million"):
        read_picture(refused, (16, 16), 3)
