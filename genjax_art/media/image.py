"""Pictures as files: PNG grids and single PNGs, GIF and MP4.

Every writer replaces its file in one step (a killed process leaves the old file or the new one, no half file)
and makes the same bytes of the same input with the same library versions: no clock, no host name, one encoder
thread.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art import films, pictures
from genjax_art.errors import RunError, UsageError
from genjax_art.files import printable, replacing
from genjax_art.media.medium import Medium, Reading
from genjax_art.spec import ArraySpec

ENDINGS = ".png, .gif, .mp4, .npz"  # the last by `medium.py`
GRID_SIDE = 64  # pixels: smaller pictures in a grid file are enlarged by a whole number up to about this side
MOVIE_SIDE = 256  # the same for GIF and MP4 (an even number): many players do not enlarge
MEASURES = ("frechet", "kernels", "manifold", "vendi", "copying", "classes", "path_length", "panel", "collapse_report")
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
SLOWEST, FASTEST = 0.1, 1000.0  # frames a second of a film
MAX_GIF_RATE = 50  # frames a second; browsers slow a GIF with shorter delays (under 2/100 s) down to 10 a second


def to_uint8(x: Float[np.ndarray, "*b h w c"], spec: ArraySpec) -> UInt8[np.ndarray, "*b h w c"]:
    """Numbers in the spec's range as levels 0 ... 255: clipped, then rounded with halves upwards.

    The inverse of `low + level / 255 * (high - low)` for every level.  Raises ValueError for NaN, which is no
    colour.
    """
    if np.isnan(x).any():
        raise ValueError(f"the pictures hold {int(np.isnan(x).sum())} NaN: draw them from an earlier checkpoint")
    above = np.clip(x.astype(np.float32), spec.low, spec.high) - spec.low
    return np.floor(above * (255 / (spec.high - spec.low)) + 0.5).astype(np.uint8)


def enlarge(images: UInt8[np.ndarray, "n h w c"], scale: int) -> UInt8[np.ndarray, "n H W c"]:
    """Every pixel as a block of `scale` x `scale` pixels (nearest neighbour)."""
    return images.repeat(scale, axis=1).repeat(scale, axis=2)


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int | None = None, padding: int = 2, scale: int = 1
) -> UInt8[np.ndarray, "H W c"]:
    """The pictures row by row on a white sheet, with `padding` pixels between and around them.

    `columns` is ceil(sqrt(n)) if left out, which makes the sheet nearly square.  Each picture is first
    enlarged by the whole number `scale`.
    """
    n = len(images)
    if n == 0:
        raise ValueError("a grid needs at least one picture, got none")
    columns = min(n, columns or int(np.ceil(np.sqrt(n))))
    rows = -(-n // columns)
    images = enlarge(images, scale)
    _, h, w, c = images.shape
    sheet = np.full((padding + rows * (h + padding), padding + columns * (w + padding), c), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (padding + cell * (side + padding) for cell, side in zip(divmod(i, columns), (h, w), strict=True))
        sheet[top : top + h, left : left + w] = image
    return sheet


def to_pillow(image: UInt8[np.ndarray, "h w c"]) -> Any:
    """A picture of 1, 3 or 4 channels as Pillow has it. Raises ValueError for others."""
    from PIL import Image

    if image.shape[-1] not in CHANNELS:
        raise ValueError(f"a picture of {image.shape[-1]} channels cannot be drawn: it needs 1, 3 or 4")
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def write_png(path: Path, image: UInt8[np.ndarray, "h w c"], metadata: Mapping[str, str]) -> None:
    """A PNG whose text chunks hold `metadata` (tEXt, or iTXt for characters outside Latin-1)."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in sorted(metadata.items()):
        info.add_text(key, value)
    with replacing(path) as part:
        to_pillow(image).save(part, format="PNG", pnginfo=info)


def read_png_metadata(path: Path) -> dict[str, str]:
    """The text chunks of a PNG.  Raises ValueError where `path` is no PNG."""
    from PIL import UnidentifiedImageError
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as image:
            image.load()  # text may follow the pixels
            return {key: str(value) for key, value in image.text.items()}
    except (UnidentifiedImageError, SyntaxError):  # Pillow raises the latter for a file that is no PNG
        raise ValueError(f"{path} is not a PNG picture") from None


def on_white(frames: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w d"]:
    """Pictures without transparency: RGBA laid on white (straight alpha); 1 and 3 channels as they are."""
    if frames.shape[-1] != 4:
        return frames
    colour, alpha = frames[..., :3].astype(np.uint16), frames[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def check_rate(out: Path, fps: float) -> None:
    """Raises UsageError for frames per second that a film with that ending cannot have."""
    most = MAX_GIF_RATE if out.suffix.lower() == ".gif" else FASTEST
    if not SLOWEST <= fps <= most:
        raise UsageError(f"--fps {fps:g} for {out}: it must be {SLOWEST:g} to {most:g}, of .mp4 to {FASTEST:g}")


def write_gif(
    path: Path,
    frames: UInt8[np.ndarray, "n h w c"],
    fps: float | int,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """A GIF that repeats without end.  RGBA is laid on white, colours are reduced to 256 a frame.

    A GIF counts time in 1/100 s, so single delays are rounded while the whole keeps `fps` frames a second.
    Equal neighbouring frames are stored as one long frame.  `metadata` becomes a comment in JSON.
    """
    if not 0 < fps <= MAX_GIF_RATE:
        raise ValueError(f"fps = {fps:g} for {path.name}: a GIF needs over 0 and at most {MAX_GIF_RATE}; use .mp4")
    if len(frames) == 0:
        raise ValueError(f"{path.name} needs at least one frame, got none")
    pictures = [to_pillow(frame) for frame in on_white(frames)]
    ends = np.floor(np.arange(len(frames) + 1) * 100 / fps + 0.5).astype(int)
    with replacing(path) as part:
        pictures[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[10 * int(delay) for delay in np.diff(ends)],  # milliseconds
            loop=0,
            comment=json.dumps(dict(metadata or {}), sort_keys=True).encode(),
        )


def write_mp4(
    path: Path,
    frames: UInt8[np.ndarray, "n h w c"],
    fps: float | int,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """An H.264 film (yuv420p, BT.709, index in front) that browsers and common players show.

    RGBA is laid on white; an odd height or width, which yuv420p cannot have, is made even by repeating the
    last row or column.  `metadata` becomes the comment of the file, in JSON.
    Raises RunError where PyAV is not installed.
    """
    av = films.pyav()
    from av.video.reformatter import ColorRange, Colorspace

    if not fps > 0:
        raise ValueError(f"fps = {fps:g} for {path.name}: a film needs over 0")
    if len(frames) == 0:
        raise ValueError(f"{path.name} needs at least one frame, got none")
    frames = np.pad(on_white(frames), ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), "edge")
    n, height, width, channels = frames.shape
    frames = np.broadcast_to(frames, (n, height, width, 3)) if channels == 1 else frames
    with (
        replacing(path) as part,
        av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as file,
    ):
        file.metadata["comment"] = json.dumps(dict(metadata or {}), sort_keys=True)
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "medium"}
        codec = stream.codec_context
        codec.thread_count = 1  # the bytes depend on the number of threads
        codec.colorspace = codec.color_primaries = codec.color_trc = 1  # BT.709 in ISO/IEC 23091-2
        codec.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def sheet(x: Float[np.ndarray, "n h w c"], spec: ArraySpec, columns: int | None = None) -> UInt8[np.ndarray, "H W c"]:
    """The pictures in one grid, small ones enlarged by a whole number."""
    return grid(to_uint8(x, spec), columns, scale=max(1, GRID_SIDE // max(spec.space)))


def write_samples(
    out: Path,
    x: Float[np.ndarray, "n h w c"],
    spec: ArraySpec,
    metadata: Mapping[str, str],
    *,
    fps: float = 20.0,
    columns: int | None = None,
) -> list[Path]:
    """Write pictures as the ending of `out` asks and return the files written.

    `.png`: all in one grid.  `.gif`, `.mp4`: each picture is a frame.  No ending, or a folder that exists: single PNGs
    `00000.png` ... of the original size, each with its `index`.  Small pictures are enlarged by a whole number in the
    grid and the films.  Files of the same name are replaced, others in the folder stay.

    Args:
      fps: frames per second of GIF and MP4 (a GIF has at most 50).
      columns: pictures in a row of a grid (default: as many as there are rows, about).

    Raises:
      UsageError: another ending, frames per second that the file cannot have, no columns. RunError: MP4 without PyAV.
    """
    check_columns(columns)
    ending = out.suffix.lower()
    if out.is_dir() or not ending:
        paths = [out / f"{i:05d}.png" for i in range(len(x))]
        for i, image in enumerate(to_uint8(x, spec)):
            write_png(paths[i], image, {**metadata, "index": str(i)})
        return paths
    # even blocks keep the colours of an MP4, whose chroma planes have half the resolution
    film_scale = max(1, MOVIE_SIDE // (2 * max(spec.space)) * 2)
    match ending:
        case ".png":
            write_png(out, sheet(x, spec, columns), metadata)
        case ".gif":
            check_rate(out, fps)
            write_gif(out, enlarge(to_uint8(x, spec), film_scale), fps, metadata)
        case ".mp4":
            check_rate(out, fps)
            write_mp4(out, enlarge(to_uint8(x, spec), film_scale), fps, metadata)
        case _:
            raise UsageError(f"unknown ending {out.suffix!r} of {out}: use {ENDINGS}, or no ending for a folder")
    return [out]


def check_columns(columns: int | None) -> None:
    """Raises UsageError for less than one."""
    if columns is not None and columns < 1:
        raise UsageError(f"--columns must be at least 1, got {columns}")


def read_picture(file: Path, spec: ArraySpec) -> Reading:
    """A picture file of any format that Pillow decodes, as `pictures.read_picture` does.

    Raises:
      RunError: it cannot be read, or has more than 67 million pixels.
    """
    name = printable(file)
    try:
        levels = pictures.read_picture(file, (spec.shape[0], spec.shape[1]), spec.channels)
    except FileNotFoundError:
        raise RunError(f"picture {name} does not exist") from None
    except Exception as error:  # Pillow raises a dozen kinds, by format
        raise RunError(f"picture {name} cannot be read: {' '.join(str(error).split())}") from None
    x = spec.low + levels.astype(np.float32) * np.float32((spec.high - spec.low) / 255)
    return Reading(printable(file.name), x)


def alike(x: Any, key: Any) -> Any:
    """See `image_views.py`, which needs JAX."""
    from genjax_art.media.image_views import alike

    return alike(x, key)


MEDIUM = Medium(
    metrics=MEASURES,
    scores=("kd_scattering", "sliced_wasserstein", "kd_own"),
    alike=alike,
    write=write_samples,
    sheet=sheet,
    samples=(".png",),
    walk=(".gif", ".mp4"),
    reads="picture",
    read=read_picture,
)
