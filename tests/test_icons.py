"""The icons: which there are, how they are drawn, and that no name is on both sides."""

import dataclasses
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import examples

from genjax_art.data.contract import DataError, Source
from genjax_art.data.icon_fonts import MARGIN, STYLES, code_points, draw_style, fonts_folder, icon_names
from genjax_art.data.open import open_source
from genjax_art.data.sets.icons import Icons, is_held_out

PHOSPHOR = [style for style in STYLES if style.startswith("phosphor")]
pytestmark = [
    pytest.mark.usefixtures("own_data"),
    pytest.mark.skipif(importlib.util.find_spec("qtawesome") is None, reason="needs the extra art"),
]


@pytest.fixture(scope="session")
def few_fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's fonts with few of their names, so that drawing takes no time."""
    folder = tmp_path_factory.mktemp("qtawesome") / "fonts"
    folder.mkdir()
    for path in fonts_folder().iterdir():
        if path.suffix == ".ttf":
            shutil.copy(path, folder)
        elif path.suffix == ".json":
            (folder / path.name).write_text(json.dumps(few(json.loads(path.read_text()))))
    return folder


def few(table: dict[str, str]) -> dict[str, str]:
    """Of a font's names those of some icons; in several styles they have several names."""
    base = {name: re.sub("-(thin|light|bold|fill|line)$", "", name) for name in table}
    bases = sorted(set(base.values()))
    chosen = {*filter(is_held_out, bases[:80]), *bases[:40:3]}
    return {name: code for name, code in table.items() if base[name] in chosen}


@pytest.fixture
def few_icons(few_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("genjax_art.data.sets.icons.fonts_folder", lambda: few_fonts)
    return few_fonts


def both(**options: object) -> tuple[Source, Source]:
    train, test = (open_source("icons", split=split, **options) for split in ("train", "test"))
    return train, test


def test_there_are_about_14_000_icons_and_five_styles_have_the_same_names() -> None:
    folder = fonts_folder()
    points = {style: code_points(folder, style) for style in STYLES}
    assert 14_000 < sum(map(len, points.values())) < 18_000
    assert all(points[style].keys() == points["phosphor-thin"].keys() for style in PHOSPHOR)
    assert points["remix-fill"].keys() < points["remix-line"].keys()
    for style, known in points.items():
        assert len(set(known.values())) == len(known), f"{style} has a character under two names"
        assert list(known) == sorted(known)
        assert style not in PHOSPHOR or not any(name.endswith(("-thin", "-light", "-bold", "-fill")) for name in known)
    assert len(set.union(*(set(known.values()) for style, known in points.items() if style in PHOSPHOR))) == 4470
    names = icon_names(folder)
    assert list(names) == sorted(set(names)) and set(names) == set().union(*points.values())


def test_names_are_held_out_by_their_hash_alone() -> None:
    names = icon_names(fonts_folder())
    held = [name for name in names if is_held_out(name)]
    assert 0.08 < len(held) / len(names) < 0.12
    assert all(is_held_out(name) == is_held_out(name.removesuffix("-outline")) for name in names)
    first = int(hashlib.sha256(b"acorn").hexdigest()[:16], 16)
    assert is_held_out("acorn") == (first % 10 == 0)


def test_a_picture_holds_what_its_spec_says(few_icons: Path) -> None:
    names = icon_names(few_icons)
    train, test = both()
    sides = []
    for source in (train, test):
        rows = examples(source)
        assert source.spec.shape == (32, 32, 1) == rows["x"].shape[1:] and rows["x"].dtype == np.uint8
        assert source.spec.classes == tuple(STYLES)
        assert set(rows["label"].tolist()) == set(range(len(STYLES)))
        assert (rows["x"].max((1, 2, 3)) > 100).all() and rows["x"].min() == 0
        pairs = list(zip(rows["label"].tolist(), rows["icon"].tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)  # an icon is in a style once
        sides.append({names[icon].removesuffix("-outline") for _, icon in pairs})
    assert not sides[0] & sides[1]
    assert all(map(is_held_out, sides[1])) and not any(map(is_held_out, sides[0]))


def test_one_icon_in_five_styles_differs_in_its_lines(few_icons: Path) -> None:
    rows = examples(open_source("icons", split="all"))
    ink = {
        style: {int(i): x.mean() for x, i in zip(rows["x"][of], rows["icon"][of], strict=True)}
        for style in PHOSPHOR
        for of in [rows["label"] == list(STYLES).index(style)]
    }
    thin, light, regular, bold, fill = (ink[style] for style in PHOSPHOR)
    assert thin.keys() == light.keys() == regular.keys() == bold.keys() >= fill.keys() and len(thin) > 10
    assert all(thin[i] < light[i] < regular[i] < bold[i] for i in thin)
    assert all(fill[i] > thin[i] for i in fill)


@pytest.mark.parametrize("style", ["phosphor-bold", "elusive", "brands"])
def test_icons_lie_in_the_middle_within_their_margin(style: str, few_fonts: Path) -> None:
    drawn = list(draw_style(few_fonts, style, 64))
    edge = int(64 * MARGIN)
    for _, x in drawn:
        rows, columns = (np.flatnonzero(x[..., 0].max(axis)) for axis in (1, 0))
        for filled in (rows, columns):
            assert filled[0] >= edge - 1 and filled[-1] <= 64 - edge
            assert abs(int(filled[0]) - (63 - int(filled[-1]))) <= 1
    grey = np.stack([x for _, x in drawn])
    assert ((grey > 0) & (grey < 255)).any()  # antialiased
    again = list(draw_style(few_fonts, style, 64))
    assert [name for name, _ in again] == [name for name, _ in drawn] == sorted(name for name, _ in drawn)
    np.testing.assert_array_equal(np.stack([x for _, x in again]), grey)


def test_empty_missing_and_equal_glyphs_are_left_out(few_fonts: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(few_fonts, tmp_path / "fonts"))
    (table,) = folder.glob("fontawesome6-solid*.json")
    codes = {"star": "f005", "a-star": "f005", "nothing": "20", "nowhere": "10fffd", "heart": "f004"}
    table.write_text(json.dumps(codes))
    assert list(code_points(folder, "awesome")) == ["a-star", "heart", "nothing", "nowhere"]
    assert [name for name, _ in draw_style(folder, "awesome", 32)] == ["a-star", "heart"]


def test_preparing_twice_gives_the_same_bytes_in_the_same_order(few_icons: Path, tmp_path: Path) -> None:
    one, two = (examples(open_source("icons", split="test", data_dir=tmp_path / place)) for place in "ab")
    assert one.keys() == two.keys() == {"x", "label", "icon"}
    for key, rows in one.items():
        np.testing.assert_array_equal(rows, two[key])


@pytest.mark.parametrize("side", [28, 64])
def test_sizes_from_28_to_64_pixels_are_the_same_drawing(side: int, few_icons: Path) -> None:
    small, other = (
        examples(open_source("icons", split="test", size=size, channels=1)) for size in ((32, 32), (side, side))
    )
    assert other["x"].shape[1:] == (side, side, 1)
    np.testing.assert_array_equal(small["icon"], other["icon"])
    ink = small["x"].mean((1, 2, 3)), other["x"].mean((1, 2, 3))
    assert np.abs(ink[0] - ink[1]).max() < 6  # of 255


def test_other_fonts_are_another_set(few_fonts: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(few_fonts, tmp_path / "fonts"))
    assert Icons(folder).variant == Icons(few_fonts).variant  # wherever they lie
    (font,) = folder.glob("codicon-*.ttf")
    font.rename(font.with_name("codicon-0.0.37.ttf"))
    assert Icons(folder).variant != Icons(few_fonts).variant
    assert dataclasses.fields(Icons)[0].name == "folder"
    next(folder.glob("phosphor-charmap-*")).unlink()
    with pytest.raises(DataError, match=r"no font phosphor .*qtawesome 1\.4\.2 .*pip install 'genjax-art\[art\]'"):
        Icons(folder).features()


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "qtawesome" else find(name))
    with pytest.raises(DataError, match=r"qtawesome, which is missing: pip install 'genjax-art\[art\]'$") as raised:
        open_source("icons")
    assert "\n" not in str(raised.value)


def test_qt_is_not_imported(few_fonts: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from genjax_art.data.open import open_source;"
        "from genjax_art.data.sets import icons;"
        "assert icons.fonts_folder().is_dir();"
        f"icons.fonts_folder = lambda: Path({str(few_fonts)!r});"
        f"open_source('icons', data_dir={str(tmp_path)!r});"
        "print([m for m in sys.modules if m.partition('.')[0].lower() in"
        " ('qtawesome', 'qtpy', 'tensorflow') or m.lower().startswith(('pyqt', 'pyside'))])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
