"""Pictures with a profile of their own become sRGB: against the closed form of made-up profiles.

The profiles are written by hand (ICC.1:2001-04, version 2): a matrix and curves for red, green and blue, a table of the
corners for inks.
"""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_art import pictures
from genjax_art.pictures import read_picture

D50 = (0.9642, 1.0, 0.8249)
SRGB = np.array([(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)])  # in XYZ of D50
ADOBE = np.array([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)])
P3 = np.array([(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)])


def s15(values) -> bytes:
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes], name: bytes) -> bytes:
    text = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79)
    tags = {b"desc": text, b"wtpt": b"XYZ " + bytes(4) + s15(D50)} | tags
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02100000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + s15(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def of_lights(primaries: np.ndarray, to_linear, name: bytes) -> bytes:
    levels = np.round(65535 * to_linear(np.linspace(0, 1, 1024))).astype(">u2").tobytes()
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + levels
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    tags = {tag: b"XYZ " + bytes(4) + s15(column) for tag, column in columns}
    return profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name)


PAPER_AND_INKS = {  # Lab, by cyan, magenta, yellow; with black there is no light at all
    (0, 0, 0): (100, 0, 0),
    (1, 0, 0): (60, -20, -35),
    (0, 1, 0): (50, 55, 0),
    (0, 0, 1): (90, -5, 70),
    (1, 1, 0): (30, 15, -40),
    (1, 0, 1): (50, -45, 25),
    (0, 1, 1): (50, 50, 35),
    (1, 1, 1): (20, 0, 0),
}


def of_inks() -> bytes:
    """A table of the sixteen corners (lut8Type): between them lightness, a and b are interpolated."""
    identity = b"".join(s15(row) for row in np.eye(3))
    corners = [(0, 0, 0) if k else PAPER_AND_INKS[c, m, y] for c, m, y, k in itertools.product((0, 1), repeat=4)]
    table = bytes(v for lightness, a, b in corners for v in (round(2.55 * lightness), a + 128, b + 128))
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * ramp + table + 3 * ramp
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut}, b"made-up inks")


def srgb_curve(x: np.ndarray) -> np.ndarray:
    """Levels of sRGB to light (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def levels_of(xyz: np.ndarray) -> np.ndarray:
    """XYZ of D50, in rows, as levels of sRGB."""
    linear = (xyz @ np.linalg.inv(SRGB)).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def xyz_of(lab: np.ndarray) -> np.ndarray:
    """CIE 1976."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    return np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize(
    ("primaries", "to_linear", "name"),
    [
        (ADOBE, lambda x: x ** (563 / 256), b"Adobe RGB (1998)"),
        (P3, srgb_curve, b"Display P3"),
        (SRGB, lambda x: x, b"sRGB, linear"),  # whatever it is called
    ],
    ids=["adobe", "p3", "linear"],
)
def test_wide_gamuts_become_srgb(tmp_path: Path, ending: str, primaries, to_linear, name: bytes) -> None:
    colours = np.array([(150, 100, 80), (90, 140, 110), (110, 110, 160), (180, 180, 180)], np.uint8)
    picture = Image.fromarray(np.repeat(np.repeat(colours[None], 16, 1), 16, 0))  # a block of each
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(ending, {})
    picture.save(tmp_path / f"x.{ending}", icc_profile=of_lights(primaries, to_linear, name), **options)
    found = read_picture(tmp_path / f"x.{ending}", (16, 64), 3)[8, 8::16].astype(int)
    np.testing.assert_allclose(found, levels_of(to_linear(colours / 255) @ primaries), atol=3)
    assert np.abs(found - colours).max() > 10  # taken as they are, they would be other colours


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("strips", [False, True])
def test_inks_become_srgb_by_their_profile(tmp_path: Path, monkeypatch, ending: str, strips: bool) -> None:
    inks = np.array([*PAPER_AND_INKS, (0.4, 0, 0), (0, 0, 0.6)])  # between two corners: a line
    lab = np.array([*PAPER_AND_INKS.values(), (84, -8, -14), (94, -3, 42)])
    inks, lab = np.append(inks, np.zeros((10, 1)), 1), lab.astype(float)
    inks, lab = np.append(inks, [(0, 0, 0, 1), (1, 0, 0, 1)], 0), np.append(lab, np.zeros((2, 3)), 0)
    levels = np.round(255 * inks).astype(np.uint8)
    x = np.repeat(np.repeat(levels[None], 16, 1), 16, 0)
    picture = Image.frombytes("CMYK", (x.shape[1], x.shape[0]), x.tobytes())
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    picture.save(tmp_path / f"x.{ending}", icc_profile=of_inks(), **options)
    size, middle = ((16, len(x[0])), slice(8, None, 16)) if not strips else ((4, len(x[0]) // 4), slice(2, None, 4))
    if strips:
        monkeypatch.setattr(pictures, "STRIP", 500)
    found = read_picture(tmp_path / f"x.{ending}", size, 3)[size[0] // 2, middle].astype(int)
    np.testing.assert_allclose(found, levels_of(xyz_of(lab)), atol=4)
    plain = np.round(255 * (1 - inks[:, :3]) * (1 - inks[:, 3:]))
    assert np.abs(found - plain)[1:8].max(1).min() > 40  # without the profile they would be pure colours
    grey = read_picture(tmp_path / f"x.{ending}", size, 1)[size[0] // 2, middle, 0]
    np.testing.assert_allclose(grey, levels_of(xyz_of(lab)) @ (0.299, 0.587, 0.114), atol=4)


def test_broken_profiles_leave_the_picture(tmp_path: Path) -> None:
    """Cut and with bytes changed: some are still profiles, none is an error."""
    rng = np.random.default_rng(0)
    for mode, whole in (("RGB", of_lights(P3, srgb_curve, b"P3")), ("CMYK", of_inks())):
        picture = Image.new(mode, (8, 8), (200, 100, 50, 0)[: len(mode)])
        plain = np.asarray(picture.convert("RGB"))[0, 0]
        cut = [whole[:n] for n in (1, 100, 131, 140, 200, 300)]
        wrong = [bytes(128) + whole[128:], whole.replace(b"acsp", b"nope"), whole.replace(b"A2B0", b"XXXX")]
        changed = []
        for _ in range(15):
            content = np.frombuffer(whole, np.uint8).copy()
            content[rng.integers(0, 300, 4)] = rng.integers(0, 256, 4)
            changed.append(content.tobytes())
        for number, content in enumerate([*cut, *wrong[:2], *changed, *wrong[2:]]):
            path = tmp_path / ("x.tif" if number % 2 else "x.jpg")
            picture.save(path, icc_profile=content)
            found = read_picture(path, (8, 8), 3)
            if number < 8:
                np.testing.assert_allclose(found[0, 0].astype(int), plain, atol=4)
