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
from genjax_art.pictures import TURNS, endings, fit_picture, read_picture, to_mode


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


def test_a_broken_profile_is_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for i, profile in enumerate((b"nonsense", srgb[:200], srgb)):
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


def claims(folder: Path) -> dict[str, Path]:
    """Small files whose headers claim much: their own size, or that of a picture or a tile within."""
    png = png_file(folder / "png.png", [bytes(1673)] * 13377, 13377, 1, 0).read_bytes()
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png
    icons = b"icns" + struct.pack(">I", len(png) + 16) + b"ic07" + struct.pack(">I", len(png) + 8) + png
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32768, 323: 32768, 324: 134, 325: 0}
    tile = zlib.compress(bytes(2**20)) * 100
    tags[325] = len(tile)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    wide = b"".join(struct.pack("<HHII", t, 4, 1, {256: 60000, 257: 60000}.get(t, v)) for t, v in tags.items())
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags))
    found = {"icon.ico": icon, "icons.icns": icons}
    found |= {"tile.tif": tiff + entries + bytes(4) + tile, "tiff.tif": tiff + wide + bytes(4) + tile}
    for ending in ("jpg", "jp2", "webp"):
        Image.new("RGB", (16, 16)).save(folder / f"small.{ending}")
    content = bytearray((folder / "small.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 60000, 60000)
    texture = b"BLP1" + struct.pack("<iiIIii16I16II", 0, 0, 16, 16, 5, 0, 158, *[0] * 15, len(content), *[0] * 15, 2)
    found |= {"jpeg.jpg": bytes(content), "texture.blp": texture + bytes(content)}
    content = bytearray((folder / "small.jp2").read_bytes())
    for at in (content.index(b"ihdr") + 4, content.index(b"\xff\x4f\xff\x51") + 8):  # the box, and the stream
        content[at : at + 8] = struct.pack(">II", 8000, 8000)
    found["jpeg2000.jp2"] = bytes(content)
    content = bytearray((folder / "small.webp").read_bytes())
    at = content.index(b"\x9d\x01\x2a") + 3  # of a key frame of VP8
    content[at : at + 4] = struct.pack("<HH", 16383, 16383)
    found["webp.webp"] = bytes(content)
    for name, content in found.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in ("png.png", *found)}


PEAK = """
import sys
from pathlib import Path
from PIL import Image, ImageCms
from genjax_art.pictures import TooLarge, read_picture

def peak():  # unlike that of getrusage, of this process alone
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

Image.init()
before = peak()
for path in sys.argv[1:]:
    try:
        print(read_picture(Path(path), (16, 16), 3).shape)
    except TooLarge as error:
        print(str(error).partition(":")[0])
print(peak() - before)
"""


def peak(*paths: Path) -> tuple[list[str], int]:
    """What reading these says, and the MB that it takes."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the memory of a process")
    words = [sys.executable, "-c", PEAK, *map(str, paths)]
    *lines, grown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return lines, int(grown)


def test_what_claims_much_takes_no_memory(tmp_path: Path) -> None:
    """Each is refused by what it claims, in one process that grows by less than any of them would take."""
    paths = claims(tmp_path)
    lines, grown = peak(*paths.values())
    assert dict.fromkeys(paths, True) == {n: "are read" in line for n, line in zip(paths, lines, strict=True)}, lines
    assert sum("within it" in line for line in lines) == 4  # icons, a texture, a tile
    assert grown < 20


def test_many_pixels_take_little_more_than_themselves(tmp_path: Path) -> None:
    lines, grown = peak(png_file(tmp_path / "x.png", [bytes(1000)] * 7500, 8000, 1, 0))
    assert lines == ["(16, 16, 3)"] and grown < 120


def test_jpeg_2000_is_bounded(tmp_path: Path) -> None:
    """OpenJPEG has four bytes a sample and more: 23 bytes a pixel were measured, so at most half as many are read."""
    Image.new("RGB", (2000, 2000), (9, 99, 199)).save(tmp_path / "x.jp2")
    lines, grown = peak(tmp_path / "x.jp2")
    assert lines == ["(16, 16, 3)"] and grown < 4 * 32


def tiff(path: Path, levels: np.ndarray, bits: int, **tags: int) -> Path:
    """A grey TIFF of one strip, written by hand: Pillow writes few of the kinds that there are."""
    order = ">" if levels.dtype.byteorder == ">" else "<"
    data = levels.tobytes()
    found = {
        256: levels.shape[1],
        257: levels.shape[0],
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: levels.shape[0],
    }
    found |= {279: len(data), 339: 1} | {int(name[1:]): value for name, value in tags.items()}
    entries = b"".join(struct.pack(f"{order}HHLL", tag, 4, 1, value) for tag, value in sorted(found.items()))
    start = (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HL", 42, 8 + len(data) + len(data) % 2)
    path.write_bytes(
        start + data + b"\0" * (len(data) % 2) + struct.pack(f"{order}H", len(found)) + entries + b"\0" * 4
    )
    return path


RAMP = np.tile(np.array([0, 20000, 40000, 65535]), (4, 1))
TWELVE = np.frombuffer(bytes([0x00, 0x04, 0xE2, 0x9C, 0x4F, 0xFF] * 4), np.uint8).reshape(4, 6)


@pytest.mark.parametrize(
    ("levels", "bits", "tags", "expected"),
    [
        (RAMP.astype("<u2"), 16, {}, [0, 78, 156, 255]),
        (RAMP.astype(">u2"), 16, {}, [0, 78, 156, 255]),
        (RAMP.astype("<u2"), 16, {"t262": 0}, [255, 177, 99, 0]),  # white is 0
        ((RAMP.astype("u8") * 65537).astype("<u4"), 32, {}, [0, 78, 156, 255]),
        ((RAMP // 257).astype("<i4"), 32, {"t339": 2}, [0, 77, 155, 255]),
        ((RAMP / 65535).astype("<f4"), 32, {"t339": 3}, [0, 78, 156, 255]),
        ((RAMP / 257 / 4).astype("<f4"), 32, {"t339": 3}, [0, 19, 39, 64]),  # a dark one of 0 to 255
        (TWELVE, 12, {"t256": 4}, [0, 78, 156, 255]),
    ],
)
def test_levels_of_a_tiff_mean_what_its_tags_say(tmp_path: Path, levels, bits, tags, expected) -> None:
    found = read_picture(tiff(tmp_path / "x.tif", levels, bits, **tags), (4, 4), 1)
    np.testing.assert_allclose(found[1, :, 0].astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ("levels", "bits", "kind"), [((RAMP / 32768 - 1).astype("<f4"), 32, 3), ((RAMP // 257).astype("i1"), 8, 2)]
)
def test_levels_below_0_are_refused_and_not_cut_off(tmp_path: Path, levels, bits, kind) -> None:
    with pytest.raises(ValueError, match="levels"):
        read_picture(tiff(tmp_path / "x.tif", levels, bits, t339=kind), (4, 4), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["tif", "png", "jpg", "webp"])
def test_a_turned_picture_is_upright_in_every_format(tmp_path: Path, orientation: int, ending: str) -> None:
    """TIFFs are turned by Pillow, which takes the tag away; others are not."""
    x = np.zeros((32, 64, 3), np.uint8)
    x[:16, :32] = (250, 0, 0)
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = Image.fromarray(x)
    if orientation in TURNS:
        stored = stored.transpose(undo.get(orientation, TURNS[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"x.{ending}", exif=exif)
    found = read_picture(tmp_path / f"x.{ending}", (32, 64), 3)
    assert np.abs(found[2:14, 2:30, 0].astype(int) - 250).max() < 40 and found[18:, :, 0].max() < 60
