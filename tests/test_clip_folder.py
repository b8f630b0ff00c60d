"""The user's own clips: layouts, windows, what is skipped and refused, and what goes on after an interruption."""

import json
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import examples
from PIL import Image

from genjax_art.data import decoders, growing, preparing
from genjax_art.data.content import content_of
from genjax_art.data.contract import DataError
from genjax_art.data.decoders import Clips, Decoders, End
from genjax_art.data.growing import GrowingArray
from genjax_art.data.open import open_source
from genjax_art.data.sets.clip_folder import read_layout
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec

pytestmark = pytest.mark.usefixtures("own_data")

SMALL = {"frames": 3, "size": (8, 8), "channels": 1, "rate": 10.0}


def still(level: int, width: int = 8, height: int = 8) -> Image.Image:
    return Image.new("L", (width, height), level)


def film(path: Path, levels: Sequence[int], milliseconds: int = 100) -> Path:
    """A GIF, WebP or APNG of grey frames, or a folder of frames where there is no ending, or a strip (.bmp)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        path.mkdir()
        for i, level in enumerate(levels):
            still(level, 10).save(path / f"{i}.png")
    elif path.suffix == ".bmp":
        Image.fromarray(np.repeat(np.array([levels], np.uint8), 8, 1).repeat(8, 0)).save(path)
    else:
        first, *others = [still(level) for level in levels]
        first.save(path, save_all=True, append_images=others, duration=milliseconds, lossless=True)
    return path


def video(path: Path, levels: Sequence[int]) -> Path:
    from genjax_art.media.image import write_mp4

    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, np.ones((len(levels), 8, 8, 1), np.uint8) * np.array(levels, np.uint8)[:, None, None, None], 10.0)
    return path


def opened(folder: Path, **options):
    return open_source("clip_folder", folder=folder, **{**SMALL, **options})


def middles(folder: Path, **options) -> dict[str, list[list[int]]]:
    """The grey of the frames of all clips of each label, sorted."""
    source = opened(folder, **options)
    rows = examples(source)
    found: dict[str, list[list[int]]] = {}
    names = [source.spec.classes[i] for i in rows["label"]] if source.spec.classes else [""] * len(rows["x"])
    for name, x in zip(names, rows["x"][:, :, 4, 4, 0].tolist(), strict=True):
        found.setdefault(name, []).append(x)
    return {name: sorted(clips) for name, clips in found.items()}


def test_films_strips_and_folders_of_frames_by_label(tmp_path: Path) -> None:
    film(tmp_path / "own" / "walk" / "a.gif", [10, 20, 30])
    film(tmp_path / "own" / "walk" / "b.bmp", [40, 50, 60])
    film(tmp_path / "own" / "run" / "c", [70, 80, 90])
    film(tmp_path / "own" / "run" / "d.webp", [100, 110, 120])
    video(tmp_path / "own" / "run" / "e.mp4", [130, 140, 150])
    (tmp_path / "own" / "README.txt").write_text("no clip")
    source = opened(tmp_path / "own")
    assert source.spec == ArraySpec((3, 8, 8, 1), kind="clip", classes=("run", "walk"), rate=10.0)
    found = middles(tmp_path / "own")
    assert found["walk"] == [[10, 20, 30], [40, 50, 60]]
    np.testing.assert_allclose(found["run"], [[70, 80, 90], [100, 110, 120], [130, 140, 150]], atol=2)


def test_a_flat_folder_and_splits(tmp_path: Path) -> None:
    film(tmp_path / "flat" / "a.gif", [1, 2, 3])
    film(tmp_path / "flat" / "b", [4, 5, 6])
    assert middles(tmp_path / "flat") == {"": [[1, 2, 3], [4, 5, 6]]}
    for i, split in enumerate(("train", "test")):
        film(tmp_path / "own" / split / "x" / "a", [i, i, i])
    film(tmp_path / "own" / "train" / "x" / "copy", [1, 1, 1])
    assert middles(tmp_path / "own") == {"x": [[0, 0, 0]]}  # a held-out clip is not trained on
    assert middles(tmp_path / "own", split="test") == {"x": [[1, 1, 1]]}


def test_long_films_are_cut_into_clips_one_after_another(tmp_path: Path) -> None:
    film(tmp_path / "own" / "a.gif", range(0, 80, 10))
    film(tmp_path / "own" / "b.bmp", range(100, 170, 10))
    cut = [[0, 10, 20], [30, 40, 50], [100, 110, 120], [130, 140, 150]]
    assert middles(tmp_path / "own") == {"": cut}
    assert middles(tmp_path / "own", clips=1) == {"": cut[::2]}
    assert middles(tmp_path / "own", stride=2) == {"": [[0, 20, 40], [100, 120, 140]]}
    assert opened(tmp_path / "own", stride=2).spec.rate == 5.0
    # at half the rate the film has half the frames, the strip those that it has
    assert middles(tmp_path / "own", rate=5.0) == {"": [[10, 30, 50], *cut[2:]]}


def test_how_a_strip_and_a_folder_of_frames_are_told(tmp_path: Path) -> None:
    (tmp_path / "own" / "wide").mkdir(parents=True)
    for i in range(3):
        still(i, 16).save(tmp_path / "own" / "wide" / f"{i}.png")
    with pytest.raises(DataError, match=r"all clips are too short, .*it has 2 frames at 10 a second, a clip 3"):
        opened(tmp_path / "own")
    assert middles(tmp_path / "own", strip=1) == {"": [[0, 1, 2]]}
    narrow = np.repeat(np.array([[7, 8, 9]], np.uint8), 4, 1).repeat(8, 0)
    (tmp_path / "narrow").mkdir()
    Image.fromarray(narrow).save(tmp_path / "narrow" / "a.png")
    assert middles(tmp_path / "narrow", strip=3) == {"": [[7, 8, 9]]}


def test_what_is_too_short_or_still_is_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film(tmp_path / "own" / "a.gif", [1, 2, 3])
    film(tmp_path / "own" / "short.gif", [4, 5])
    still(0).save(tmp_path / "own" / "one.gif")
    assert middles(tmp_path / "own") == {"": [[1, 2, 3]]}
    assert sorted(message.removeprefix(f"skipped {tmp_path}/own/") for message in caplog.messages) == [
        "one.gif: it is a still picture of 8x8, neither an animation nor a strip of squares",
        "short.gif: it has 2 frames at 10 a second, a clip 3",
        "skipped 2 too short, too large or still clips: one.gif, short.gif",
    ]


def test_one_percent_of_broken_clips_is_skipped_and_more_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(99):
        film(tmp_path / "own" / "a" / f"{i}.bmp", [i, i, i])
    (tmp_path / "own" / "a" / "text.mp4").write_text("no film")
    assert len(opened(tmp_path / "own")) == 99
    assert len(caplog.messages) == 1 and "text.mp4: " in caplog.messages[0] and "Invalid data" in caplog.messages[0]
    frames = film(tmp_path / "own" / "a" / "sizes", [1, 2, 3])
    still(0, 11).save(frames / "3.png")
    with pytest.raises(DataError, match=r"2 of 101 clips in .* cannot be read, more than 1 %.*(a/sizes|a/text.mp4)"):
        opened(tmp_path / "own")


def test_of_a_film_that_breaks_off_the_clips_before_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(7):
        frames = film(tmp_path / "own" / "a", []) if not i else frames
        still(i).save(frames / f"{i}.png")
    (frames / "5.png").write_bytes((frames / "5.png").read_bytes()[:-30])
    film(tmp_path / "own" / "b.gif", [7, 8, 9])
    assert middles(tmp_path / "own") == {"": [[0, 1, 2], [7, 8, 9]]}
    (message,) = caplog.messages
    assert message.startswith(f"broken after 1 clips: {frames}: ")


def no_clips(folder: Path) -> None:
    (folder / "notes.txt").write_text("")


def stills(folder: Path) -> None:
    still(0).save(folder / "a.png")


def all_broken(folder: Path) -> None:
    (folder / "a.mp4").write_text("no film")


def half_labelled(folder: Path) -> None:
    film(folder / "train" / "a" / "x.gif", [1, 2, 3])
    film(folder / "test" / "x.gif", [1, 2, 3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_clips, r"holds no clips \(gif, mp4, strips as png, folders of frames, ...\); it holds 1 .txt"),
        (stills, r"all clips are too short, too large or still: .*mend a.png \(it is a still picture of 8x8"),
        (all_broken, r"1 of 1 clips in .* cannot be read, more than 1 %: mend or remove a.mp4"),
        (half_labelled, "some of its splits only"),
    ],
)
def test_folders_without_clips_are_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    make(tmp_path / "own")
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "own")
    assert "\n" not in str(caught.value)


def test_numbers_that_make_no_clip_are_refused(tmp_path: Path) -> None:
    film(tmp_path / "own" / "a.gif", [1, 2, 3])
    for options in ({"frames": 0}, {"stride": 0}, {"rate": 0.0}, {"clips": -1}):
        with pytest.raises(UsageError, match="must be at least 1, and rate over 0"):
            opened(tmp_path / "own", **options)


def test_without_pyav_mp4_is_refused_with_the_remedy_and_gif_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "own" / "a.mp4", [1, 2, 3])
    film(tmp_path / "gifs" / "a.gif", [1, 2, 3])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r'1 clips in .*, a.mp4 first, need PyAV: pip install -e "\.\[video\]"'):
        opened(tmp_path / "own")
    assert middles(tmp_path / "gifs") == {"": [[1, 2, 3]]}


def test_the_content_is_kept_and_memory_mapped(tmp_path: Path) -> None:
    film(tmp_path / "own" / "a.gif", range(0, 90, 10))
    source, again = opened(tmp_path / "own"), opened(tmp_path / "own")
    assert isinstance(source.x.base.base, memoryview | type(source.mapped)) and source.x.shape == (3, 3, 8, 8, 1)
    assert content_of(source) == content_of(again) and len(list(tmp_path.rglob("x.journal"))) == 0
    other = opened(tmp_path / "own", frames=4)
    assert content_of(other) != content_of(source)


def test_processes_read_the_same_clips_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        film(tmp_path / "own" / f"{i}.gif", range(i, 200 + i, 2))
    (tmp_path / "own" / "2.gif").write_text("no film")
    paths = sorted((tmp_path / "own").iterdir())
    monkeypatch.setattr(decoders, "WAITING_BYTES", 1)  # so that processes wait, too
    reader = Clips(3, (8, 8), 1, 10.0, 1, None, None)
    with Decoders(reader, 0) as here, Decoders(reader, 2) as two:
        expected, found = list(here.read(paths)), list(two.read(paths))
    assert len(expected) == 4 * 33 + 5
    for one, other in zip(expected, found, strict=True):
        if isinstance(one, End):
            assert one == other
        else:
            np.testing.assert_array_equal(one, other)


def test_what_was_interrupted_within_a_film_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, count in enumerate((3, 30, 2, 12, 60, 5)):
        film(tmp_path / "own" / f"{i}.gif", range(i, i + count))
    whole = opened(tmp_path / "own", data_dir=tmp_path / "whole")
    monkeypatch.setattr(growing, "COMMIT_BYTES", 2 * 3 * 64)
    append, left = GrowingArray.append, [25]

    def interrupted(self: GrowingArray, row: np.ndarray) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        append(self, row)

    with monkeypatch.context() as patched:
        patched.setattr(GrowingArray, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path / "own", data_dir=tmp_path / "other")
    (journal,) = (tmp_path / "other").rglob("x.journal")
    last = json.loads(journal.read_bytes().splitlines()[-1])
    assert 0 < last["done"] < 6 and last["rows"] < 24
    capsys.readouterr()
    gone_on = opened(tmp_path / "own", data_dir=tmp_path / "other")
    assert f"({last['done']} of 6 clips are there)" in capsys.readouterr().err
    np.testing.assert_array_equal(gone_on.x, whole.x)
    assert content_of(gone_on) == content_of(whole)


def test_a_film_larger_than_what_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "own" / "a.gif", range(250))
    monkeypatch.setattr(growing, "COMMIT_BYTES", 5 * 3 * 64)
    monkeypatch.setattr(preparing, "FEW_BYTES", 0)  # by processes
    most, append = [0], GrowingArray.append

    def watched(self: GrowingArray, row: np.ndarray) -> None:
        append(self, row)
        most[0] = max(most[0], len(self._pending))

    monkeypatch.setattr(GrowingArray, "append", watched)
    assert middles(tmp_path / "own")[""] == [[i, i + 1, i + 2] for i in range(0, 249, 3)]
    assert most[0] < 10 * 3 * 64


def test_an_mp4_of_ten_gigabytes_is_read_where_its_frames_are(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = video(tmp_path / "own" / "a.mp4", [10, 60, 110, 160, 210, 240])
    size = 10 * 2**30
    with path.open("ab") as file:
        file.write((1).to_bytes(4, "big") + b"free" + size.to_bytes(8, "big"))  # a box of nothing, with holes on disk
        try:
            file.truncate(file.tell() - 16 + size)
        except OSError as error:  # a file system without holes
            pytest.skip(str(error))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clips = np.asarray(middles(tmp_path / "own")[""])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024  # KiB
    np.testing.assert_allclose(clips, [[10, 60, 110], [160, 210, 240]], atol=8)  # MP4 keeps colours but roughly


def test_the_shared_sprites_are_read_as_their_readme_says(shared_data: Path, tmp_path: Path) -> None:
    layout = read_layout(shared_data / "lpc_sprites_64")
    assert {name: len(rows) for name, rows in layout.splits.items()} == {"train": 2268, "test": 252}
    assert len(layout.classes) == 9 and not layout.strays
    some = sorted(path for path, _ in layout.splits["test"])[::60]
    for path in some:
        place = tmp_path / "own" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    rows = examples(open_source("clip_folder", folder=tmp_path / "own", frames=8))
    expected = {
        np.asarray(Image.open(path).convert("RGB")).reshape(64, 8, 64, 3).transpose(1, 0, 2, 3).tobytes()
        for path in some
    }
    assert {x.tobytes() for x in rows["x"]} == expected and len(some) == 5
