"""Films as frames of one size: GIF, WebP, APNG, MP4 and what else PyAV decodes, sprite strips, folders of frames.

Files are decoded frame by frame, and no further than is asked for. Times are those that the file says: a film of
another or a varying frame rate is sampled at the asked one, at the middle of each new frame's time. GIF delays under
2/100 s are 1/10 s, as browsers have it. Transparency that is dropped is laid on white, frames are scaled and cropped as
`pictures.fit_picture` does; films of MP4 & Co. are turned as their display matrix says, their pixels made square.

A strip is a still picture that is a whole number, 2 or more, of squares wide (or high): its frames side by side. A
folder of frames is read in the order of the numbers in their names. Both have no times: they are taken to be of the
asked rate. `.mp4` and its like need PyAV, the extra [video]; the others do not.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genjax_art.errors import RunError
from genjax_art.pictures import as_meant, endings, fit_picture, open_picture, upright

# by their endings; what a file is shows in its content, and other formats than these are not tried
VIDEO = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ogv",
    ".flv",
    ".ts",
    ".3gp",
    ".wmv",
    ".y4m",
)
FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,flv,asf,yuv4mpegpipe"  # none that names other files
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # Pillow's formats that may be films
MOVING = (".gif", ".webp", ".png", ".apng", ".avif", ".avifs")  # endings of those
MAX_PIXELS = 2**24  # of a frame, 17 million; a decoder holds more than ten of them
LONGEST = 60  # seconds that a frame may be shown
NEEDED = 'PyAV: pip install -e ".[video]"'  # by films of `VIDEO`


class Unfit(ValueError):
    """A whole film that is not what is asked for: too short, or its frames too large."""


class Frame(NamedTuple):
    """A picture that is shown from `start` to `end`, in seconds. Both are None where the file has no times."""

    picture: Callable[[], Image.Image]  # converted when it is called, before the next frame is asked for
    start: float | None
    end: float | None


Clip = UInt8[np.ndarray, "frames height width channels"]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a film: frames of that (height, width) and channels, every `stride`-th of `rate` a second.

    `strip` is how many frames a strip has, where they are no squares; None: as many squares as it is long.
    """

    size: tuple[int, int]
    channels: int
    rate: float | None
    stride: int = 1
    strip: int | None = None


def pyav() -> ModuleType:
    """PyAV. Raises RunError where it is not installed."""
    try:
        import av
    except ImportError:
        raise RunError(f".mp4 and its like need {NEEDED}, or name a .gif") from None
    return av


def lacking(path: Path) -> str:
    """What is to be installed for films of that ending; empty where nothing is."""
    if path.suffix.lower() in VIDEO:
        try:
            pyav()
        except RunError:
            return NEEDED
    return ""


def film_endings() -> tuple[str, ...]:
    """The endings of files that may be clips."""
    return tuple(sorted({*endings(), *VIDEO}))


def read_frames(path: Path, wanted: Wanted) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    """The frames of a film, strip or folder of frames, at the asked rate.

    Raises:
      Unfit: a still picture that is no strip, or frames of too many pixels. RunError: PyAV is missing.
      OSError, ValueError, SyntaxError, ...: whatever Pillow and PyAV raise on a file that is none, or broken.
    """
    frames = _at_rate(frames_of(path, wanted.strip), wanted)
    while True:
        with warnings.catch_warnings(action="ignore"):  # not around `yield`: they would be ignored elsewhere, too
            if (frame := next(frames, None)) is None:
                return
        yield frame


def _at_rate(film: Iterator[Frame], wanted: Wanted) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    number, shown = 0, 0  # of the next frame at the asked rate, and of the one after what a frame is shown for
    for frame in film:
        if wanted.rate is None or frame.start is None or frame.end is None:
            shown = number + 1
        elif frame.end - frame.start > LONGEST:
            raise Unfit(f"a frame is shown for {frame.end - frame.start:.0f} s; at most {LONGEST} are read")
        else:  # rounded to billionths, so that sums of times are what they mean
            shown = max(number, math.ceil(round(frame.end * wanted.rate - 0.5, 9)))
        taken = -(-shown // wanted.stride) + (-number // wanted.stride)  # those that `stride` divides
        number = shown
        if taken:
            array = fit_picture(frame.picture(), wanted.size, wanted.channels)
            yield from (array for _ in range(taken))


def read_clips(path: Path, frames: int, wanted: Wanted, most: int | None = None) -> Iterator[Clip]:
    """A film's consecutive clips of so many frames, at most `most`; what is left at its end is left out.

    Raises:
      Unfit: it is shorter than one clip; or as `read_frames` does.
    """
    found = 0
    film = read_frames(path, wanted)
    while most is None or found < most:
        clip = list(islice(film, frames))
        if len(clip) < frames:
            if not found:
                rate = "" if wanted.rate is None else f" at {wanted.rate / wanted.stride:g} a second"
                raise Unfit(f"it has {len(clip)} frames{rate}, a clip {frames}")
            return
        yield np.stack(clip)
        found += 1


def frames_of(path: Path, strip: int | None) -> Iterator[Frame]:
    """The frames as they lie in a file or folder."""
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() in VIDEO:
        return _of_video(path)
    return _of_picture(path, strip)


# pictures


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with open_picture(path) as picture:
        _check_pixels(picture.width, picture.height)
        yield picture


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unfit(f"a frame has {width * height / 1e6:.0f} million pixels; at most {MAX_PIXELS / 1e6:.0f} are read")


def is_frame(path: Path, strip: int | None) -> bool:
    """Whether a picture file is one frame: neither an animation nor a strip, by its header. Raises what Pillow does."""
    with _opened(path) as picture:
        if _animated(picture):
            return False
        try:
            strip_boxes(*_sides(picture), strip)
        except Unfit:
            return True
        return False


def stills(files: Iterable[Path]) -> list[Path]:
    """The pictures that may be frames of one clip, in their order: none of an ending of which the first is a film."""
    ordered = sorted(files, key=in_order)
    first = {path.suffix.lower(): path for path in reversed(ordered)}
    moving = {ending for ending, path in first.items() if ending in MOVING and _moves(path)}
    return [path for path in ordered if path.suffix.lower() not in moving]


def _moves(path: Path) -> bool:
    try:
        with _opened(path) as picture:
            return _animated(picture)
    except Exception:  # broken: who reads it tells
        return False


def _sides(picture: Image.Image) -> tuple[int, int]:
    """Width and height of the picture when it is upright."""
    turned = picture.getexif().get(0x0112) in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else picture.size


def _animated(picture: Image.Image) -> bool:
    return picture.format in ANIMATED and bool(getattr(picture, "is_animated", False))


def _of_picture(path: Path, strip: int | None) -> Iterator[Frame]:
    with _opened(path) as picture:
        if _animated(picture):
            yield from _of_animation(picture)
            return
        boxes = strip_boxes(*_sides(picture), strip)
        picture.load()
        whole = upright(as_meant(picture))
        for box in boxes:
            yield Frame(lambda box=box: _cut(whole, box), None, None)  # type: ignore[misc]


def _cut(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    piece = picture.crop(box)
    piece.info = picture.info
    return piece


def strip_boxes(width: int, height: int, frames: int | None) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of the frames of a strip: `frames`, or else as many squares as it is long.

    Raises:
      Unfit: a picture of these sides is no such strip, or `frames` is 1.
    """
    long, short = max(width, height), min(width, height)
    number = frames or (long // short if long % short == 0 else 0)
    if number < 2 or long % number:
        what = "squares" if frames is None else f"{frames} frames of whole pixels"
        raise Unfit(f"it is a still picture of {width}x{height}, neither an animation nor a strip of {what}")
    side = long // number
    if width >= height:
        return [(i * side, 0, (i + 1) * side, height) for i in range(number)]
    return [(0, i * side, width, (i + 1) * side) for i in range(number)]


def _of_animation(picture: Any) -> Iterator[Frame]:
    start = 0.0
    first = 1 if picture.info.get("default_image") else 0  # of an APNG, for programs that show stills only
    for number in count(first):
        try:
            picture.seek(number)
        except EOFError:
            return
        picture.load()  # WebP says how long only then
        length = float(picture.info.get("duration") or 0) / 1000
        length = 0.1 if length < 0.02 else length
        yield Frame(picture.copy, start, start + length)
        start += length


def _of_folder(folder: Path) -> Iterator[Frame]:
    """Pictures in the order of their names, numbers in them by what they are worth."""
    readable = set(endings())
    inside = (path for path in folder.iterdir() if path.suffix.lower() in readable and not path.name.startswith("."))
    files = stills(inside)
    first = _size_of(files[0]) if files else None
    for path in files:  # by their headers, before any is used
        if first is not None and (size := _size_of(path)) != first:
            sizes = " and ".join(f"{width}x{height}" for width, height in (first, size))
            raise ValueError(f"frames have different sizes, {files[0].name} and {path.name}: {sizes}")
    for path in files:
        with _opened(path) as picture:
            picture.load()
            shown = upright(as_meant(picture))
            yield Frame(lambda shown=shown: shown, None, None)  # type: ignore[misc]


def _size_of(path: Path) -> tuple[int, int]:
    with _opened(path) as picture:
        return picture.size


def in_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts frame_2 before frame_10."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


# what PyAV decodes

SEE_THROUGH = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def _of_video(path: Path) -> Iterator[Frame]:
    av = pyav()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    with path.open("rb") as file, av.open(file, options=options) as film:
        if not film.streams.video:
            raise ValueError("it has sound, but no pictures" if film.streams.audio else "it has no pictures")
        stream = film.streams.video[0]
        codec = stream.codec_context
        _check_pixels(codec.width, codec.height)
        codec.thread_count = 1  # each holds frames of its own, and other films are decoded beside this one
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        ratio = float(stream.sample_aspect_ratio or 1)  # width of a pixel over its height; odd ones are errors
        wide = ratio if 0.25 <= ratio <= 4 else 1
        usual = float(1 / stream.average_rate) if stream.average_rate else 0.1
        reformatter = av.video.reformatter.VideoReformatter()  # one of each frame's own would keep threads of its own
        turns: list[Image.Transpose | None] = []  # that of the film; a frame that is asked for it stays until `gc` runs

        def picture_of(frame: Any) -> Image.Image:
            _check_pixels(frame.width, frame.height)
            alpha = any(component.is_alpha for component in frame.format.components)
            pixels = reformatter.reformat(frame, format="rgba" if alpha else "rgb24", threads=1).to_ndarray()
            picture = Image.fromarray(pixels)
            if wide != 1:
                picture = picture.resize((max(1, round(picture.width * wide)), picture.height))
            turn = turns[0] if turns else _turn(frame)
            turns[:] = [turn]
            return picture if turn is None else picture.transpose(turn)

        yield from _timed(_decoded(av, film, stream), usual, picture_of)


def _decoded(av: Any, film: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream. FFmpeg's own decoders of VP8 and VP9 leave their transparency out, libvpx does not."""
    name = SEE_THROUGH.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        yield from film.decode(stream)
        return
    decoder = av.CodecContext.create(name, "r")
    decoder.thread_count, decoder.options = 1, stream.codec_context.options
    for packet in film.demux(stream):  # ends with an empty one, for which the last frames come
        for frame in decoder.decode(packet if packet.size else None):
            _check_pixels(frame.width, frame.height)
            yield frame


def _timed(decoded: Iterable[Any], usual: float, picture_of: Callable[[Any], Image.Image]) -> Iterator[Frame]:
    """Each frame is shown until the next one begins, the last as long as it says, else as long as `usual`."""
    zero, start, last = None, 0.0, None
    for frame in decoded:
        zero = frame.time if zero is None and frame.time is not None else zero
        now = start + usual if frame.time is None or zero is None else frame.time - zero
        if last is not None:
            now = max(now, start)
            yield Frame(lambda last=last: picture_of(last), start, now)  # type: ignore[misc]
        start, last = (now if last is not None else 0.0), frame
    if last is None:
        raise ValueError("it has no frame")
    length = float((last.duration or 0) * (last.time_base or 0)) or usual
    yield Frame(lambda: picture_of(last), start, start + length)


def _turn(frame: Any) -> Image.Transpose | None:
    """What makes a frame upright, by its display matrix; None where it is, or is not turned by right angles."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = np.rint(np.frombuffer(bytes(matrix), np.int32)[:5] / 2**16).astype(int).tolist()
    return TURNS.get((a, b, c, d))


# (right, down) of a point is multiplied from the left: right' = a right + c down, down' = b right + d down
TURNS = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
