"""Clips of coloured shapes: their factors, their paths, and that they are the same everywhere."""

import time

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from genjax_art.data.content import content_of
from genjax_art.data.contract import DataError
from genjax_art.data.open import open_source
from genjax_art.data.sets.moving_shapes import CLASSES, COLOURS, MOTIONS, RADIUS, SHAPES, drawings
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec


def test_what_a_clip_is() -> None:
    source = open_source("moving_shapes")
    assert source.spec == ArraySpec((16, 32, 32, 3), kind="clip", classes=CLASSES, rate=8.0)
    rows = source.take(np.arange(100))
    assert rows["x"].shape == (100, 16, 32, 32, 3) and rows["x"].dtype == np.uint8
    assert all(rows[name].dtype == np.int32 for name in ("label", "shape", "colour", "motion"))
    # all contents with all motions, once each
    assert len(set(zip(rows["label"].tolist(), rows["motion"].tolist(), strict=True))) == 100
    for label, shape, colour in zip(rows["label"], rows["shape"], rows["colour"], strict=True):
        assert CLASSES[label] == f"{list(COLOURS)[colour]}_{list(SHAPES)[shape]}"


def test_a_shape_keeps_its_colour_its_form_and_the_frame() -> None:
    rows = open_source("moving_shapes").take(np.arange(200))
    x = rows["x"].astype(int)
    assert not x[..., [0, -1], :].any(axis=(2, 3, 4)).all()
    colours = np.array(list(COLOURS.values()))[rows["colour"]]
    np.testing.assert_array_equal(x.max((2, 3)), np.broadcast_to(colours[:, None], (200, 16, 3)))
    area = (x / colours[:, None, None, None]).mean(-1).sum((2, 3))  # in pixels
    np.testing.assert_allclose(area, np.pi * (RADIUS * 32) ** 2, rtol=0.03)
    assert area.std(1).max() < 0.5  # wherever it is


def test_the_places_are_those_of_the_path() -> None:
    source = open_source("moving_shapes", frames=9, rate=5.0)
    indices = np.arange(0, 200, 7)
    place = source.paths.at(indices, np.arange(9) / 5)
    shapes = source.take(indices)
    room = 32 - drawings(32).shape[-2]
    expected = 15.5 + place * room / 2
    for clip, shape, at in zip(shapes["x"], shapes["shape"], expected, strict=True):
        found = np.array([center_of_mass(frame.sum(-1)) for frame in clip.astype(float)])[:, ::-1]
        offset = found - at  # the triangle's middle is not its centre of mass
        assert np.ptp(offset, axis=0).max() < 0.2 and (abs(offset) < (0.2 if shape != 2 else 2)).all()
    assert abs(place).max() <= 1


@pytest.mark.parametrize("motion", range(len(MOTIONS)))
def test_paths_are_continuous_closed_and_as_wide_as_they_may_be(motion: int) -> None:
    path = list(MOTIONS.values())[motion]
    times = np.linspace(0, 2, 4001)
    points = np.stack(path(times), -1)
    assert 0.99 < abs(points).max() <= 1 + 1e-9
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 0.02
    np.testing.assert_allclose(points[0], points[-1], atol=1e-9)


def test_clips_are_the_same_for_the_same_number() -> None:
    train, again, test = (open_source("moving_shapes", split=split) for split in ("train", "train", "test"))
    one, two = train.take(np.array([7, 123])), again.take(np.array([123, 7]))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name][::-1])
    assert (len(train), len(test)) == (20_000, 4_000)
    assert content_of(train) == content_of(again) and content_of(train) != content_of(test)
    assert not {x.tobytes() for x in train.take(np.arange(300))["x"]} & {
        x.tobytes() for x in test.take(np.arange(300))["x"]
    }


def test_stride_leaves_frames_out_and_size_is_any() -> None:
    every = open_source("moving_shapes", frames=9, size=17).take(np.arange(5))["x"]
    second = open_source("moving_shapes", frames=5, size=17, stride=2)
    assert second.spec.rate == 4.0 and second.spec.shape == (5, 17, 17, 3)
    np.testing.assert_array_equal(second.take(np.arange(5))["x"], every[:, ::2])


def test_what_makes_no_clip_is_refused() -> None:
    with pytest.raises(DataError, match="no split 'all': choose from train, test"):
        open_source("moving_shapes", split="all")
    for options in ({"frames": 0}, {"size": 15}, {"stride": 0}, {"rate": 0.0}):
        with pytest.raises(UsageError, match="must be at least 1, size at least 16 and rate over 0"):
            open_source("moving_shapes", **options)


def test_a_batch_takes_milliseconds() -> None:
    source = open_source("moving_shapes")
    source.take(np.arange(64))
    best = min(_seconds(source, np.arange(64) * 31 + i) for i in range(5))
    assert best < 0.05  # 4 ms on two cores that are free


def _seconds(source, indices) -> float:
    start = time.perf_counter()
    source.take(indices)
    return time.perf_counter() - start
