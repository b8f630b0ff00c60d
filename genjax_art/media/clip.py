"""Clips as files: GIF, MP4, WebP and APNG that play all of them side by side, a contact sheet as PNG, a row a clip.

Files are replaced in one step, and the same clips make the same bytes, as in `image.py`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art import films
from genjax_art.errors import RunError, UsageError
from genjax_art.files import printable, replacing
from genjax_art.media.image import (
    GRID_SIDE,
    check_columns,
    check_rate,
    enlarge,
    grid,
    on_white,
    read_png_metadata,
    to_pillow,
    to_uint8,
    write_gif,
    write_mp4,
    write_png,
)
from genjax_art.media.medium import Medium, Reading
from genjax_art.spec import ArraySpec

ENDINGS = ".gif, .mp4, .webp, .apng, .png, .npz"  # the last by `medium.py`
MOST_FRAMES = 2048  # of a file of the user's
FILM_SIDE = 512  # pixels: small clips are enlarged by an even number in a film up to about this side
RATE = 8.0  # frames per second where nobody says
MOST_COLUMNS = 16  # frames of a clip on its row of a contact sheet


def contact_sheet(
    clips: Sequence[UInt8[np.ndarray, "_ height width channels"]],
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
    clips: UInt8[np.ndarray, "n frames height width channels"], columns: int | None = None
) -> UInt8[np.ndarray, "frames H W channels"]:
    """One film in which all clips play at once, on a grid, nearly square if no `columns` are asked for; a single one
    without a margin."""
    n, _, height, width, _ = clips.shape
    columns = min(n, columns or int(np.ceil(np.sqrt(n))))
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
    columns: int | None = None,
) -> list[Path]:
    """Write clips as the ending of `out` asks and return the files written.

    `.gif`, `.mp4` (by PyAV), `.webp`, `.apng`: all clips at once on a grid, and beside the film their contact sheet,
    with the ending `.png`. `.png`: that sheet alone. No ending, or a folder that exists: a GIF and its sheet,
    `00000.gif` and `00000.png`, for each clip, with its `index`. Small clips are enlarged by a whole number. Files of
    the same name are replaced, others in the folder stay.

    Args:
      fps: frames per second (default: those of the data, else 8; a GIF has at most 50).
      columns: clips in a row of a film's grid (default: as many as there are rows, about).

    Raises:
      UsageError: another ending, frames per second that the file cannot have, no columns. RunError: MP4 without PyAV.
    """
    check_columns(columns)
    clips, rate = to_uint8(x, spec), spec.rate or RATE if fps is None else fps
    if out.suffix and not out.is_dir():
        return write_film(out, clips, rate, metadata, columns)
    return [
        path
        for i, clip in enumerate(clips)
        for path in write_film(out / f"{i:05d}.gif", clip[None], rate, {**metadata, "index": str(i)})
    ]


def write_film(
    out: Path,
    clips: UInt8[np.ndarray, "n frames h w c"],
    rate: float,
    metadata: Mapping[str, str],
    columns: int | None = None,
) -> list[Path]:
    """All clips in one film, and beside it their contact sheet; of `.png` the sheet alone."""
    ending = out.suffix.lower()
    check_rate(out, rate)
    beside = out.with_suffix(".png")
    if beside != out and beside.is_file() and not _of_ours(beside, metadata):
        raise UsageError(f"{beside}, where the contact sheet goes, is a file of yours: name another --out")
    match ending:
        case ".gif":
            write_gif(out, side_by_side(clips, columns), rate, metadata)
        case ".mp4":
            write_mp4(out, side_by_side(clips, columns), rate, metadata)
        case ".webp" | ".apng":
            write_lossless(out, side_by_side(clips, columns), rate, metadata)
        case ".png":
            pass
        case _:
            raise UsageError(f"unknown ending {out.suffix!r} of {out}: use {ENDINGS}, or no ending for a folder")
    write_png(beside, contact_sheet(list(clips)), metadata)
    return [out] if beside == out else [out, beside]


def _of_ours(picture: Path, metadata: Mapping[str, str]) -> bool:
    """Whether it tells what our own sheets tell."""
    try:
        return metadata.keys() <= read_png_metadata(picture).keys()
    except (ValueError, OSError):
        return False


def write_lossless(path: Path, frames: UInt8[np.ndarray, "n h w c"], rate: float, metadata: Mapping[str, str]) -> None:
    """An APNG or, by the ending `.webp`, a WebP without loss, that repeats without end; RGBA is laid on white.

    `metadata` becomes texts of the APNG, of the WebP the EXIF description, in JSON. Raises OSError.
    """
    from PIL.Image import Exif
    from PIL.PngImagePlugin import PngInfo

    first, *others = [to_pillow(frame) for frame in on_white(frames)]
    ends = np.floor(np.arange(len(frames) + 1) * 1000 / rate + 0.5).astype(int)
    options: dict[str, Any] = {"save_all": True, "append_images": others, "duration": np.diff(ends).tolist(), "loop": 0}
    if path.suffix.lower() == ".webp":
        exif = Exif()
        exif[0x010E] = json.dumps(dict(metadata), sort_keys=True)
        options |= {"format": "WEBP", "lossless": True, "exif": exif}
    else:
        texts = PngInfo()
        for key, value in sorted(metadata.items()):
            texts.add_text(key, value)
        options |= {"format": "PNG", "pnginfo": texts}
    with replacing(path) as part:
        first.save(part, **options)


def write_wholes(
    out: Path,
    wholes: Sequence[Float[np.ndarray, "_ height width channels"]],
    spec: ArraySpec,
    about: Mapping[str, str],
    rate: float | None,
    in_one: bool,
    *,
    fps: float | None = None,
    columns: int | None = None,
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
        paths += write_samples(name, film[None], own, meta, fps=fps, columns=columns)
    return paths


def read_clip(file: Path, spec: ArraySpec, *, strip: int | None = None, stride: int = 1) -> Reading:
    """A film, sprite strip or folder of frames (see `films.py`), at the spec's rate; of a long one 2,048 frames.

    Args:
      strip: frames of a strip, where they are no squares.
      stride: which frames of a strip or folder count: each, every second, ... The spec's rate is of these.

    Raises:
      RunError: it cannot be read, is a still picture, or needs PyAV.
    """
    name = printable(file)
    _, height, width, channels = spec.shape
    rate = None if spec.rate is None else spec.rate * stride
    frames = films.read_frames(file, films.Wanted((height, width), channels, rate, stride, strip))
    try:
        levels = list(islice(frames, MOST_FRAMES))
        if next(frames, None) is not None:
            logging.getLogger(__name__).warning("%s: only its first %d frames are read", name, MOST_FRAMES)
    except FileNotFoundError:
        raise RunError(f"clip {name} does not exist") from None
    except RunError:
        raise
    except Exception as error:  # Pillow and PyAV raise a dozen kinds, by format
        raise RunError(f"clip {name} cannot be read: {' '.join(str(error).split())}") from None
    if not levels:
        raise RunError(f"clip {name} has no frame, or is shorter than half of one at {rate} frames a second")
    whole = spec.low + np.stack(levels).astype(np.float32) * np.float32((spec.high - spec.low) / 255)
    return Reading(printable(file.name), whole, spec.rate)


def alike(x: Any, key: Any) -> Any:
    """All frames of a clip as `image_views.py` changes one picture."""
    from genjax_art.media.image_views import alike

    n, frames, height, width, channels = x.shape
    layers = x.transpose(0, 2, 3, 1, 4).reshape(n, height, width, frames * channels)
    changed = alike(layers, key).reshape(n, height, width, frames, channels)
    return changed.transpose(0, 3, 1, 2, 4)


MEASURES = (
    *("clip_distance", "content_consistency", "motion_accuracy", "content_swap", "clip_reconstruction"),
    *("clip_prediction", "kernels", "manifold", "vendi", "copying", "classes", "path_length", "panel"),
    "collapse_report",
)
MEDIUM = Medium(
    metrics=MEASURES,
    scores=("kd_scattering", "sliced_wasserstein", "kd_own"),
    judged=2048,  # as FVD is published by
    features="own_clips",
    alike=alike,
    write=write_samples,
    sheet=sheet,
    samples=(".gif",),
    walk=(".gif", ".mp4"),
    frames=2,  # each is a whole clip
    reads="clip",
    read=read_clip,
    write_wholes=write_wholes,
    unit=1,
    unit_name="frames",
    stays=True,
)
