"""Clips as files: other programs read back what is written, and `read` what a user has."""

import json
import sys
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genjax_art.errors import RunError, UsageError
from genjax_art.films import Wanted, read_frames
from genjax_art.media import clip, image, medium
from genjax_art.media.clip import contact_sheet, side_by_side
from genjax_art.media.image import read_png_metadata
from genjax_art.run.load import Run
from genjax_art.spec import ArraySpec
from genjax_art.verbs.output import Output

SPEC = ArraySpec((5, 16, 16, 3), kind="clip", rate=10.0)
ABOUT = {"seed": "3", "parameters": "0123abcd", "of": "Grüße ♪"}
FILMS = (".gif", ".mp4", ".webp", ".apng")


def clips(n: int, spec: ArraySpec = SPEC) -> np.ndarray:
    """Frames of blocks of 8 pixels, each of its own colour."""
    frames, height, width, channels = spec.shape
    small = np.random.default_rng(0).integers(0, 5, (n, frames, height // 8, width // 8, channels)) * 60
    levels = small.repeat(8, 2).repeat(8, 3)
    return (levels / 255 * 2 - 1).astype(np.float32)


def as_levels(x: np.ndarray) -> np.ndarray:
    return image.to_uint8(x, SPEC).astype(int)


@pytest.mark.parametrize("ending", FILMS)
def test_one_clip_comes_back_enlarged(tmp_path: Path, ending: str) -> None:
    x = clips(1)
    paths = medium.write(tmp_path / f"x{ending}", x, SPEC, ABOUT)
    assert paths == [tmp_path / f"x{ending}", tmp_path / "x.png"]
    found = np.stack(list(read_frames(paths[0], Wanted((512, 512), 3, 10.0)))).astype(int)
    assert found.shape == (5, 512, 512, 3)
    middle = found[:, 16::32, 16::32]  # of each pixel as it is enlarged
    np.testing.assert_allclose(middle, as_levels(x)[0], atol={".mp4": 12, ".gif": 4}.get(ending, 0))


@pytest.mark.parametrize("ending", FILMS)
def test_the_same_clips_make_the_same_bytes_and_tell_of_themselves(tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        medium.write(tmp_path / f"{name}{ending}", clips(3), SPEC, ABOUT)
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert metadata_of(tmp_path / f"a{ending}") == ABOUT
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert read_png_metadata(tmp_path / "a.png") == ABOUT


def metadata_of(path: Path) -> dict[str, str]:
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as film:
            return json.loads(film.metadata["comment"])
    if path.suffix == ".apng":
        return read_png_metadata(path)
    with Image.open(path) as film:
        return json.loads(film.getexif()[0x010E] if path.suffix == ".webp" else film.info["comment"])


def test_a_contact_sheet_has_a_row_for_each_clip() -> None:
    levels = np.arange(15, dtype=np.uint8).reshape(3, 5, 1, 1, 1) * np.ones((1, 1, 64, 64, 1), np.uint8)
    sheet = contact_sheet(list(levels))
    assert sheet.shape == (2 + 3 * 66, 2 + 5 * 66, 1)
    np.testing.assert_array_equal(sheet[34::66, 34::66, 0], np.arange(15).reshape(3, 5))
    long = np.arange(31, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 1), np.uint8)
    spread = contact_sheet([long, long[:3]])[34::66, 34::66, 0]
    np.testing.assert_array_equal(spread[0], np.arange(0, 31, 2))  # 16 of them, the first and the last among them
    np.testing.assert_array_equal(spread[1], [0, 1, 2] + [255] * 13)


def test_a_grid_film_plays_all_clips_at_once() -> None:
    x = np.arange(4 * 3, dtype=np.uint8).reshape(4, 3, 1, 1, 1) * np.ones((1, 1, 16, 16, 1), np.uint8)
    film = side_by_side(x)
    assert film.shape == (3, 2 + 2 * 258, 2 + 2 * 258, 1)
    np.testing.assert_array_equal(film[:, 130::258, 130::258, 0], x[..., 0, 0, 0].T.reshape(3, 2, 2))


def test_a_folder_of_single_clips(tmp_path: Path) -> None:
    x = clips(2)
    paths = medium.write(tmp_path / "x", x, SPEC, ABOUT)
    assert [path.name for path in paths] == ["00000.gif", "00000.png", "00001.gif", "00001.png"]
    assert metadata_of(paths[2]) == {**ABOUT, "index": "1"}
    found = np.stack(list(read_frames(paths[2], Wanted((512, 512), 3, 10.0))))
    np.testing.assert_allclose(found[:, 16::32, 16::32].astype(int), as_levels(x)[1], atol=4)


@pytest.mark.parametrize("ending", FILMS)
def test_frames_per_second_are_those_of_the_data_or_as_asked(tmp_path: Path, ending: str) -> None:
    for fps, seconds in ((None, 0.5), (4.0, 1.25)):
        (path, _) = medium.write(tmp_path / f"x{ending}", clips(1), SPEC, ABOUT, fps=fps)
        at_100 = sum(1 for _ in read_frames(path, Wanted((8, 8), 3, 100.0)))
        assert abs(at_100 - 100 * seconds) <= 1


def test_odd_sides_and_other_channels(tmp_path: Path) -> None:
    for channels in (1, 3, 4):
        spec = ArraySpec((3, 17, 9, channels), kind="clip")
        x = np.random.default_rng(0).uniform(-1, 1, (2, *spec.shape)).astype(np.float32)
        for ending in FILMS:
            (path, sheet) = medium.write(tmp_path / f"x{ending}", x, spec, ABOUT)
            assert len(list(read_frames(path, Wanted((8, 8), 3, None)))) == 3 and sheet.is_file()
        assert medium.sheet(x, spec).shape[-1] == channels


def test_wholes_of_any_length(tmp_path: Path) -> None:
    wholes = [clips(1, ArraySpec((n, 16, 16, 3)))[0] for n in (7, 3)]
    one = medium.write_wholes(tmp_path / "x.gif", wholes, SPEC, ABOUT, rate=10.0, in_one=True)
    assert one == [tmp_path / "x.gif", tmp_path / "x.png"]
    found = np.stack(list(read_frames(one[0], Wanted((512, 512), 3, 10.0))))
    np.testing.assert_allclose(found[:, 16::32, 16::32].astype(int), as_levels(np.concatenate(wholes)), atol=4)
    each = medium.write_wholes(tmp_path / "y.gif", wholes, SPEC, ABOUT, rate=None, in_one=False)
    assert [path.name for path in each] == ["y-0.gif", "y-0.png", "y-1.gif", "y-1.png"]
    assert metadata_of(each[2])["index"] == "1"


def test_what_it_cannot_write_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown ending '.avi' of .*: use .gif, .mp4, .webp, .apng, .png, .npz, or"):
        medium.write(tmp_path / "x.avi", clips(1), SPEC, ABOUT)
    for fps in (0.0, -1.0, 51.0):
        with pytest.raises(UsageError, match=r"--fps .* must be 0.1 to 50, of \.mp4 to 1000"):
            medium.write(tmp_path / "x.gif", clips(1), SPEC, ABOUT, fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_clip_of_the_users_is_read_at_the_rate_of_the_run(tmp_path: Path) -> None:
    x = clips(1)
    (path, _) = medium.write(tmp_path / "x.webp", x, SPEC, ABOUT, fps=5.0)
    reading = medium.read(path, SPEC)
    assert (reading.name, reading.rate, reading.whole.shape) == ("x.webp", 10.0, (10, 16, 16, 3))
    np.testing.assert_allclose(reading.whole, x[0].repeat(2, 0), atol=0.4)  # shrunk again, by Lanczos
    assert abs(reading.whole - x[0].repeat(2, 0)).mean() < 0.05
    windows = medium.windows(reading.whole[:7], SPEC)
    assert windows.shape == (2, *SPEC.shape)
    np.testing.assert_array_equal(windows[1, 2:], windows[1, 1:2].repeat(SPEC.shape[0] - 2, 0))  # its end stays
    np.testing.assert_array_equal(medium.whole_of(windows, 7, SPEC), reading.whole[:7])


def test_a_long_film_is_cut_and_what_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clip, "MOST_FRAMES", 4)
    (path, _) = medium.write(tmp_path / "x.gif", clips(1), SPEC, ABOUT)
    assert len(medium.read(path, SPEC).whole) == 4
    assert caplog.messages == [f"{path}: only its first 4 frames are read"]
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "one.gif")
    for name, message in {
        "text.mp4": "cannot be read: .*Invalid data",
        "one.gif": "cannot be read: it is a still picture of 16x16",
        "empty": "has no frame",
        "absent.gif": "does not exist",
    }.items():
        with pytest.raises(RunError, match=f"clip .*{name} {message}") as error:
            medium.read(tmp_path / name, SPEC)
        assert "\n" not in str(error.value)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    x = np.broadcast_to(clips(2)[:, :1], (2, *SPEC.shape))
    y = np.asarray(jax.jit(clip.alike)(jnp.asarray(x), jax.random.key(0)))
    assert y.shape == x.shape and (abs(y - x) > 0.01).any()
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1], y.shape), atol=1e-6)


def test_a_walk_is_a_gif_and_an_mp4_that_share_their_sheet(tmp_path: Path) -> None:
    run = mock.Mock(spec=Run, medium=medium.find_medium("clip"))
    run.spec = SPEC
    written = Output(tmp_path / "walk").walk(run, clips(2), ABOUT, None)
    assert [path.name for path in written] == ["walk.gif", "walk.png", "walk.mp4"]


@pytest.mark.parametrize("spec", [SPEC, ArraySpec((16, 16, 3))], ids=["clips", "pictures"])
def test_without_pyav_a_walk_is_a_gif_and_a_named_mp4_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spec: ArraySpec
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    run = mock.Mock(spec=Run, medium=medium.find_medium(spec.kind))
    run.spec = spec
    x = clips(2) if spec is SPEC else clips(1)[0, :2]
    written = Output(tmp_path / "walk").walk(run, x, ABOUT, None)
    assert written[0] == tmp_path / "walk.gif" and not (tmp_path / "walk.mp4").exists()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f'left out {tmp_path / "walk.mp4"}: it needs PyAV: pip install -e ".[video]"']
    with pytest.raises(RunError, match=r'need PyAV: pip install -e "\.\[video\]", or name a \.gif'):
        Output(tmp_path / "my.mp4", named=True).walk(run, x, ABOUT, None)
    assert not (tmp_path / "my.mp4").exists()


def test_a_picture_of_the_users_is_not_taken_for_our_sheet(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    with pytest.raises(UsageError, match=r"x\.png, where the contact sheet goes, is a file of yours: name another"):
        medium.write(tmp_path / "x.gif", clips(1), SPEC, ABOUT)
    assert (tmp_path / "x.png").read_bytes() == before and not (tmp_path / "x.gif").exists()
    for _ in range(2):  # our own is replaced
        medium.write(tmp_path / "y.gif", clips(1), SPEC, ABOUT)


def test_a_strip_and_frames_are_read_as_those_that_the_run_was_trained_on(tmp_path: Path) -> None:
    greys = [0, 60, 120, 180, 240, 30]
    strip = np.concatenate([np.full((16, 8, 3), grey, np.uint8) for grey in greys], 1)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    (tmp_path / "frames").mkdir()
    for i, grey in enumerate(greys):
        Image.new("RGB", (16, 16), (grey, grey, grey)).save(tmp_path / "frames" / f"{i}.png")
    run = mock.Mock(spec=Run)
    run.spec, run.experiment = SPEC, mock.Mock()
    run.experiment.data.options = {"folder": "x", "strip": 6, "stride": 2, "rate": 20.0}
    run.read = lambda file: Run.read(run, file)
    for file in ("strip.png", "frames"):
        reading = run.read(tmp_path / file)
        assert reading.rate == SPEC.rate
        found = as_levels(reading.whole)[:, 8, 8, 0]
        np.testing.assert_array_equal(found, greys[::2], err_msg=file)
    run.experiment.data.options = {"stride": 2}  # of clips that were drawn: a file of one's own has its own frames
    assert len(run.read(tmp_path / "frames").whole) == 6


def test_a_folder_that_is_there_gets_the_files(tmp_path: Path) -> None:
    """Whatever its name ends in; nothing is written beside it."""
    run = mock.Mock(spec=Run, medium=clip.MEDIUM)
    run.spec = SPEC
    for name in ("there", "there.gif"):
        (tmp_path / name).mkdir()
        paths = Output(tmp_path / name, True, verb="vary").wholes(run, list(clips(1)), ABOUT, rate=None, in_one=False)
        assert paths == [tmp_path / name / "vary.gif", tmp_path / name / "vary.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there", "there.gif"]
