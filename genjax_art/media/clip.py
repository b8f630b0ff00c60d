"""Clips as files: GIF and MP4 that play all of them side by side, a contact sheet as PNG, a row a clip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art.errors import UsageError
from genjax_art.media.image import GRID_SIDE, MAX_GIF_RATE, enlarge, grid, to_uint8, write_gif, write_mp4, write_png
from genjax_art.media.medium import Medium
from genjax_art.spec import ArraySpec

ENDINGS = ".gif, .mp4, .png, .npz"  # the last by `medium.py`
FILM_SIDE = 512  # pixels: small clips are enlarged by an even number in a film up to about this side
RATE = 8.0  # frames per second where nobody says
MOST_COLUMNS = 16  # frames of a clip on its row of a contact sheet


def contact_sheet(
    clips: Sequence[UInt8[np.ndarray, "frames height width channels"]],
) -> UInt8[np.ndarray, "h w channels"]:
    """A row for each clip: its frames from left to right, of longer ones than 16 as many, evenly spread.

    Shorter clips than the longest have white at the end of their row.
    """
    columns = min(MOST_COLUMNS, max(map(len, clips)))
    rows = []
    for clip in clips:
        shown = clip[np.rint(np.linspace(0, len(clip) - 1, min(columns, len(clip)))).astype(int)]
        rows.append(np.pad(shown, [(0, columns - len(shown)), (0, 0), (0, 0), (0, 0)], constant_values=255))
    frames = np.concatenate(rows)
    return grid(frames, columns, scale=max(1, GRID_SIDE // max(frames.shape[1:3])))


def side_by_side(
    clips: UInt8[np.ndarray, "n frames height width channels"],
) -> UInt8[np.ndarray, "frames H W channels"]:
    """One film in which all clips play at once, on a grid; a single one without a margin."""
    n, _, height, width, _ = clips.shape
    columns = int(np.ceil(np.sqrt(n)))
    # even blocks keep the colours of an MP4, whose chroma planes have half the resolution
    scale = max(1, FILM_SIDE // (2 * columns * max(height, width)) * 2)
    if n == 1:
        return enlarge(clips[0], scale)
    return np.stack([grid(frames, columns, scale=scale) for frames in np.moveaxis(clips, 1, 0)])


def sheet(x: Float[np.ndarray, "n frames height width channels"], spec: ArraySpec) -> UInt8[np.ndarray, "h w c"]:
    """The contact sheet of all clips."""
    return contact_sheet(list(to_uint8(x, spec)))


def write_samples(
    out: Path,
    x: Float[np.ndarray, "n frames height width channels"],
    spec: ArraySpec,
    metadata: Mapping[str, str],
    *,
    fps: float | None = None,
) -> list[Path]:
    """Write clips as the ending of `out` asks and return the files written.

    `.gif`, `.mp4`: all clips at once on a grid, and their contact sheet beside the film, with the ending `.png`.
    `.png`: that sheet alone. No ending, or a folder that exists: a GIF and its sheet, `00000.gif` and `00000.png`, for
    each clip, with its `index`. Small clips are enlarged by a whole number. Files of the same name are replaced,
    others in the folder stay.

    Args:
      fps: frames per second (default: those of the data, else 8; a GIF has at most 50).

    Raises:
      UsageError: another ending, or frames per second that the file cannot have.
    """
    clips, rate = to_uint8(x, spec), fps or spec.rate or RATE
    if out.suffix and not out.is_dir():
        return write_film(out, clips, rate, metadata)
    return [
        path
        for i, clip in enumerate(clips)
        for path in write_film(out / f"{i:05d}.gif", clip[None], rate, {**metadata, "index": str(i)})
    ]


def write_film(
    out: Path, clips: UInt8[np.ndarray, "n frames h w c"], rate: float, metadata: Mapping[str, str]
) -> list[Path]:
    """All clips in one film, and beside it their contact sheet; of `.png` the sheet alone."""
    ending = out.suffix.lower()
    if not rate > 0 or (ending == ".gif" and rate > MAX_GIF_RATE):
        most = f" and at most {MAX_GIF_RATE}, of .mp4 any" if ending == ".gif" else ""
        raise UsageError(f"--fps {rate:g} for {out}: frames per second are over 0{most}")
    match ending:
        case ".gif":
            write_gif(out, side_by_side(clips), rate, metadata)
        case ".mp4":
            write_mp4(out, side_by_side(clips), rate, metadata)
        case ".png":
            pass
        case _:
            raise UsageError(f"unknown ending {out.suffix!r} of {out}: use {ENDINGS}, or no ending for a folder")
    beside = out.with_suffix(".png")
    write_png(beside, contact_sheet(list(clips)), metadata)
    return [out] if beside == out else [out, beside]


def write_wholes(
    out: Path,
    wholes: Sequence[Float[np.ndarray, "frames height width channels"]],
    spec: ArraySpec,
    about: Mapping[str, str],
    rate: float | None,
    in_one: bool,
    *,
    fps: float | None = None,
) -> list[Path]:
    """Write clips of any length, in `rate` frames per second, as the ending of `out` asks.

    One after another in one film (`in_one`), or each in a file of its own: `name-0.gif`, `name-1.gif`, ... if there are
    several, each with its `index`. Options as of `write_samples`.
    """
    films = [np.concatenate(wholes)] if in_one else list(wholes)
    paths: list[Path] = []
    for i, film in enumerate(films):
        name = out if len(films) == 1 else out.with_name(f"{out.stem}-{i}{out.suffix}")
        meta = {**about, "index": str(i)} if len(films) > 1 else about
        own = replace(spec, shape=film.shape, rate=rate or spec.rate)
        paths += write_samples(name, film[None], own, meta, fps=fps)
    return paths


MEDIUM = Medium(
    write=write_samples,
    sheet=sheet,
    samples=(".gif",),
    walk=(".gif", ".mp4"),
    frames=2,  # each is a whole clip
    reads="clip",
    write_wholes=write_wholes,
    unit=1,
    unit_name="frames",
)
