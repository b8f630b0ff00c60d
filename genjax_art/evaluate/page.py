"""An evaluation as files: results.json, the pictures, and one page that holds all of it and needs nothing else."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genjax_art.evaluate.judged import Judged
from genjax_art.evaluate.pictures import Sheets, draw
from genjax_art.evaluate.tables import comparable, lines, shown
from genjax_art.files import printable, replacing
from genjax_art.media.image import to_pillow, write_png
from genjax_art.metrics.row import Row

PAGE, RESULTS = "page.html", "results.json"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; text-align: left }
tr:nth-child(even) { background: #f4f4f4 } td { font-variant-numeric: tabular-nums }
.good, .green { color: #06722f } .worse, .red { color: #b3151c; font-weight: 600 } .yellow { color: #8a6100 }
.verdict { border-left: 4px solid #888; padding-left: 1rem } img { image-rendering: pixelated; max-width: 100% }
figure { display: inline-block; margin: 0 1.5rem 1.5rem 0; vertical-align: top; max-width: 46% }
.wide figure { max-width: 100% } .wide img { image-rendering: auto }
figcaption, .small { color: #555; font-size: .9rem }
"""


def write(found: Sequence[Judged], out: Path) -> None:
    """Writes the page, its pictures and results.json into the folder `out`; files of these names are replaced."""
    out.mkdir(parents=True, exist_ok=True)
    sheets = [draw(one.subject) for one in found]
    for i, (one, drawn) in enumerate(zip(found, sheets, strict=True), 1):
        behind = f"-{i}" if len(found) > 1 else ""
        for name, picture in asdict(drawn).items():
            if picture is not None:
                about = {k: printable(str(v)) for k, v in one.about.items()}
                write_png(out / f"{name}{behind}.png", picture, about)
    write_json(found, out / RESULTS)
    with replacing(out / PAGE) as part:
        part.write_text(page(found, sheets), encoding="utf-8")


def write_json(found: Sequence[Judged], path: Path) -> None:
    """One object of a run, or a list of them; what is unknown is null."""
    results = [
        plain({"run": printable(one.folder), **one.about, **{n: as_json(v) for n, v in one.found.items()}})
        for one in found
    ]
    with replacing(path) as part:
        part.write_text(json.dumps(results[0] if len(results) == 1 else results, indent=2) + "\n", encoding="utf-8")


def as_json(value: Any) -> Any:
    if not isinstance(value, Row):
        return value
    real = None if value.real is None else asdict(value.real)
    found = {"samples": asdict(value.samples), "held-out": real, "better": value.better, "unit": value.unit}
    controls = {name: asdict(record) for name, record in value.controls.items()}
    return {**found, "controls": controls, "blind": list(value.blind)} if controls else found


def plain(value: Any) -> Any:
    """As strict JSON has it, which has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # an array, or a number of one
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def page(found: Sequence[Judged], sheets: Sequence[Sheets]) -> str:
    """The page: verdicts, figures with their intervals as a table and drawn, samples, held-out data, neighbours."""
    names = ", ".join(one.name for one in found)
    parts = [f"<h1>{_text(names)}</h1>"]
    groups = comparable([one for one in found if one.rows])
    for together, why in groups:
        if why:
            parts.append(
                f"<p>{_text(together[0].name)} cannot be compared with {_text(found[0].name)}: {_text(why)}</p>"
            )
        parts += [_table(together), _drawn(together)]
    for one, drawn in zip(found, sheets, strict=True):
        parts += [f"<h2>{_text(one.name)}</h2>", _verdict(one), _pictures(drawn), _plain(one)]
    style, title = f"<style>{STYLE}</style>", f"<title>{_text(names)}</title>"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{title}{style}</head>'
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def _text(value: Any) -> str:
    return escape(printable(str(value)))


def _verdict(one: Judged) -> str:
    if "verdict" not in one.found:
        return ""
    word, because = _text(one.found["verdict"]), _text(one.found.get("because", ""))
    lights = one.found.get("collapse", {})
    signs = ", ".join(
        f'<span class="{_text(s["light"])}">{_text(n)}: {_text(s["light"])}</span>' for n, s in lights.items()
    )
    rest = f"<br>{signs}<br>{_text(one.found.get('remedy', ''))}" if lights else ""
    return f'<p class="verdict"><b>{word}</b>: {because}{rest}</p>'


def _table(found: Sequence[Judged]) -> str:
    first = next(iter(found[0].rows.values())).samples
    heads = "".join(f"<th>{_text(h)}</th>" for h in ("", *(one.name for one in found), "held-out data", ""))
    body = []
    for name, rows, real, words in lines(found):
        cells = "".join(f'<td class="{row.light}">{shown(row.samples)}</td>' if row else "<td></td>" for row in rows)
        body.append(f'<tr><td>{_text(name)}</td>{cells}<td>{real}</td><td class="small">{_text(words)}</td></tr>')
    about = (
        f"{first.n_fake} samples, {first.n_real} training examples, 95 % intervals. Extractor "
        f"{found[0].about.get('extractor')}, {first.extractor}, {first.resize}."
    )
    return f"<table><tr>{heads}</tr>{''.join(body)}</table><p class=small>{_text(about)}</p>"


def _drawn(found: Sequence[Judged]) -> str:
    """Each figure's interval beside that of held-out data, on an axis of its own."""
    from matplotlib.figure import Figure

    names = [n for n, row in found[0].rows.items() if row.real is not None]
    if not names:
        return ""
    columns = 4
    figure = Figure(figsize=(12, 1.1 * math.ceil(len(names) / columns) * max(1.0, 0.5 + len(found) / 2)), dpi=90)
    for i, name in enumerate(names):
        axes = figure.add_subplot(math.ceil(len(names) / columns), columns, i + 1)
        records = [("held-out", found[0].rows[name].real)]
        records += [(one.name[:18], one.rows[name].samples) for one in found if name in one.rows]
        for place, (_, record) in enumerate(records):
            if record is not None and np.isfinite([record.low, record.high]).all():
                colour = "#888" if place == 0 else "#1f5fa8"
                axes.plot([record.low, record.high], [place, place], color=colour, linewidth=3)
                axes.plot([record.value], [place], "o", color=colour)
        axes.set_yticks(range(len(records)), [label for label, _ in records], fontsize=7)
        axes.set_title(name, fontsize=9)
        axes.tick_params(axis="x", labelsize=7)
        axes.margins(y=0.4)
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    image = _image(file.getvalue(), "each figure with its interval, beside that of held-out data")
    return f"<div class=wide>{image}</div>"


def _pictures(sheets: Sheets) -> str:
    words = {
        "samples": "samples",
        "held": "held-out data",
        "neighbours": "each sample, and the training examples nearest to it; those most like copies first",
    }
    found = [_image(_png(picture), words[name]) for name, picture in asdict(sheets).items() if picture is not None]
    return "".join(found)


def _image(data: bytes, words: str) -> str:
    source = base64.b64encode(data).decode()
    text = _text(words)
    return f'<figure><img src="data:image/png;base64,{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _png(picture: UInt8[np.ndarray, "h w c"]) -> bytes:
    file = io.BytesIO()
    to_pillow(picture).save(file, format="PNG")
    return file.getvalue()


def _plain(one: Judged) -> str:
    """What else is known, in full."""
    rest = {**one.about, **{n: v for n, v in one.found.items() if not isinstance(v, Row | Mapping)}}
    lines = "".join(f"<tr><td>{_text(n)}</td><td>{_text(v)}</td></tr>" for n, v in rest.items())
    return f"<details><summary>details</summary><table>{lines}</table></details>"
