"""Icons of the fonts that the package qtawesome carries: which there are, in which style, and how they are drawn.

The package is found and its files are read; it is never imported, since that takes Qt. Its licence is MIT, those of the
fonts are MIT (Phosphor), Apache 2.0 (Remix, Material Design Icons), OFL (Font Awesome, Elusive) and CC BY 4.0 (Codicon,
logos of Font Awesome).

A style is a font, or those names of a font that end in the style's word: "acorn-thin", "acorn-fill". An icon's name is
what remains: "acorn". So the same icon exists in five styles of Phosphor and in two of Remix.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from genjax_art.data.contract import DataError

# style: the beginning of the font's file name, and the endings of the names in that style; "" stands for no other one
STYLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "phosphor-thin": ("phosphor", ("-thin",)),
    "phosphor-light": ("phosphor", ("-light",)),
    "phosphor-regular": ("phosphor", ("",)),
    "phosphor-bold": ("phosphor", ("-bold",)),
    "phosphor-fill": ("phosphor", ("-fill",)),
    "remix-line": ("remixicon", ("-line", "")),  # those without an ending are signs of editors, in lines
    "remix-fill": ("remixicon", ("-fill",)),
    "material": ("materialdesignicons6-webfont", ("",)),
    "awesome": ("fontawesome6-solid-webfont", ("",)),
    "brands": ("fontawesome6-brands-webfont", ("",)),
    "codicon": ("codicon", ("",)),
    "elusive": ("elusiveicons-webfont", ("",)),
}
EM = 128  # pixels that the side of a font's em has where a glyph is drawn, before it is reduced
MARGIN = 1 / 16  # of the picture, at each side
USUAL = 90  # percentile of a font's glyphs, by their larger side: these fill the picture up to the margin
NOWHERE = "\U0010ffff"  # no font has it: what is drawn for it stands for every missing glyph


def fonts_folder() -> Path:
    """Where the installed package keeps its fonts. Raises DataError where it is missing."""
    package = importlib.util.find_spec("qtawesome")
    if package is None or package.origin is None:
        raise DataError(
            "icons are drawn from the fonts of the package qtawesome, which is missing: pip install 'genjax-art[art]'"
        )
    return Path(package.origin).parent / "fonts"


def font_files(folder: Path, font: str) -> tuple[Path, Path]:
    """The font and its table of names. Raises DataError where the package is of a version without them."""
    fonts, tables = sorted(folder.glob(f"{font}-[0-9]*.ttf")), sorted(folder.glob(f"{font}-charmap-[0-9]*.json"))
    if len(fonts) != 1 or len(tables) != 1:
        raise DataError(
            f"{folder} has no font {font} with a table of names, as qtawesome 1.4.2 has: pip install 'genjax-art[art]'"
        )
    return fonts[0], tables[0]


def fingerprint_of_fonts(folder: Path) -> str:
    """A hash of all files that icons come from: names, which hold the fonts' versions, and bytes."""
    digest = hashlib.sha256()
    for font in sorted({font for font, _ in STYLES.values()}):
        for path in font_files(folder, font):
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def code_points(folder: Path, style: str) -> dict[str, str]:
    """The character of each icon of a style, by the icon's name, sorted; of two names of one character the first."""
    font, endings = STYLES[style]
    others = [ending for other, known in STYLES.values() if other == font for ending in known if ending]
    found: dict[str, str] = {}
    for full, code in sorted(_table(font_files(folder, font)[1]).items()):
        ending = next((ending for ending in others if full.endswith(ending)), "")
        if ending in endings:
            found.setdefault(full.removesuffix(ending), chr(int(code, 16)))
    first: dict[str, str] = {}
    for name, character in sorted(found.items()):
        first.setdefault(character, name)
    return {name: character for character, name in first.items()}


def icon_names(folder: Path) -> tuple[str, ...]:
    """The names of all icons of all styles, sorted: the meaning of the number "icon" of an example."""
    return tuple(sorted({name for style in STYLES for name in code_points(folder, style)}))


def draw_style(folder: Path, style: str, pixels: int) -> Iterator[tuple[str, UInt8[np.ndarray, "pixels pixels 1"]]]:
    """Every icon of a style by name, sorted: ink 255 on 0, antialiased, its box in the middle of the picture.

    All glyphs of a font have one scale, so that its lines keep their width, but for those that would not fit. Left out
    are empty and missing glyphs, and drawings that an earlier name has already.
    """
    file = font_files(folder, STYLES[style][0])[0]
    font, usual = _font(file), _usual_side(file)
    seen = {_ink(font, NOWHERE)[1]}
    for name, character in code_points(folder, style).items():
        glyph, drawing = _ink(font, character)
        if glyph is None or drawing in seen:
            continue
        seen.add(drawing)
        side = round(max(usual, *glyph.size) / (1 - 2 * MARGIN))
        canvas = Image.new("L", (side, side))
        canvas.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
        yield name, np.asarray(canvas.resize((pixels, pixels), Image.Resampling.BOX))[..., None]


def _table(path: Path) -> dict[str, str]:
    table: Any = json.loads(path.read_text(encoding="utf-8"))
    return table


def _font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, EM, layout_engine=ImageFont.Layout.BASIC)  # the other one is not everywhere


@cache
def _usual_side(path: Path) -> float:
    """The side in pixels, at `EM`, that `USUAL` of a hundred glyphs keep to."""
    font, name = _font(path), path.stem.rpartition("-")
    characters = {chr(int(code, 16)) for code in _table(path.with_name(f"{name[0]}-charmap-{name[2]}.json")).values()}
    sides = [max(glyph.size) for character in sorted(characters) if (glyph := _ink(font, character)[0])]
    return float(np.percentile(sides, USUAL))


def _ink(font: ImageFont.FreeTypeFont, character: str) -> tuple[Image.Image | None, tuple[Any, ...]]:
    """The box of what is drawn for a character, None where nothing is, and what two equal drawings share."""
    drawn = Image.new("L", (3 * EM, 3 * EM))  # glyphs may reach beyond their em
    ImageDraw.Draw(drawn).text((EM, 2 * EM), character, fill=255, font=font, anchor="ls")
    box = drawn.getbbox()
    glyph = drawn.crop(box) if box else None
    return glyph, (glyph.size, glyph.tobytes()) if glyph else ()
