"""Moving MNIST: the construction of the paper, of digits of a split's own."""

import time
from unittest import mock

import numpy as np
import pytest

from genjax_art.data.content import content_of
from genjax_art.data.contract import DataError, array_source
from genjax_art.data.open import open_source
from genjax_art.data.sets.moving_digits import STEP, bounced, build
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec


def opened(**options):
    """The set, of ten patterns in the place of digits, which are others in each split."""

    def patterns(name, *, split, data_dir, size, channels):
        x = np.random.default_rng(["train", "test"].index(split)).integers(0, 256, (40, *size, channels))
        return array_source(x.astype(np.uint8), np.arange(40) % 10)

    with mock.patch("genjax_art.data.digits.open_source", patterns):
        return build(data_dir="nowhere", **options)


def test_two_digits_bounce_in_a_frame() -> None:
    source = opened()
    assert source.spec == ArraySpec((20, 64, 64, 1), kind="clip", rate=10.0) and len(source) == 60_000
    chosen = np.array([5, 0, 59_999])
    rows = source.take(chosen)
    assert set(rows) == {"x", "digit_1", "digit_2"} and rows["x"].dtype == np.uint8
    digits = source.digits.take(source.rows[chosen].reshape(-1))
    np.testing.assert_array_equal(np.stack([rows["digit_1"], rows["digit_2"]], 1).ravel(), digits["label"])
    pictures = digits["x"].reshape(3, 2, 28, 28, 1)
    places = bounced(source.start[chosen], source.direction[chosen], 20)
    for clip, (one, two), ways in zip(rows["x"], pictures, places, strict=True):
        for frame, at in zip(clip, ways, strict=True):
            expected = np.zeros((2, 64, 64, 1), np.uint8)
            for layer, picture, (down, right) in zip(expected, (one, two), (36 * at).astype(int), strict=True):
                layer[down : down + 28, right : right + 28] = picture
            np.testing.assert_array_equal(frame, expected.max(0))


def test_steps_are_as_long_and_turn_at_the_edges() -> None:
    """Against the loop of the published program, written anew."""
    rng = np.random.default_rng(0)
    start, angle = rng.random((50, 1, 2)), rng.uniform(0, 2 * np.pi, (50, 1))
    way = np.stack([np.sin(angle), np.cos(angle)], -1)
    found = bounced(start, way, 40)
    for i in range(50):
        (y, x), (v_y, v_x) = start[i, 0], way[i, 0]
        for t in range(40):
            y, x = y + v_y * STEP, x + v_x * STEP
            if x <= 0:
                x, v_x = 0, -v_x
            if x >= 1:
                x, v_x = 1, -v_x
            if y <= 0:
                y, v_y = 0, -v_y
            if y >= 1:
                y, v_y = 1, -v_y
            np.testing.assert_allclose(found[i, t, 0], (y, x), atol=1e-12)


def test_splits_have_other_digits_and_clips_are_the_same_for_the_same_number() -> None:
    train, again, test = (opened(split=s, size=32, frames=5) for s in ("train", "train", "test"))
    assert train.spec.shape == (5, 32, 32, 1) and train.digits.spec.shape == (14, 14, 1)
    np.testing.assert_array_equal(train.take(np.array([9]))["x"], again.take(np.array([3, 9]))["x"][1:])
    assert content_of(train) == content_of(again) != content_of(test)


def test_stride_leaves_frames_out() -> None:
    every, second = opened(frames=9), opened(frames=5, stride=2)
    assert second.spec.rate == 5.0
    np.testing.assert_array_equal(second.take(np.arange(5))["x"], every.take(np.arange(5))["x"][:, ::2])
    assert content_of(second) != content_of(opened(frames=5, rate=5.0))


def test_one_digit_is_the_label() -> None:
    source = opened(digits=1, frames=2)
    rows = source.take(np.arange(50))
    assert source.spec.classes == tuple("0123456789")
    np.testing.assert_array_equal(rows["label"], rows["digit_1"])
    three = opened(digits=3, frames=2).take(np.arange(2))
    assert {"digit_1", "digit_2", "digit_3"} < set(three)


def test_what_makes_no_clip_is_refused() -> None:
    with pytest.raises(DataError, match="no split 'all': choose from train, test"):
        open_source("moving_digits", split="all")
    for options in ({"frames": 0}, {"size": 15}, {"digits": 0}, {"stride": 0}, {"rate": 0.0}):
        with pytest.raises(UsageError, match="must be at least 1, size at least 16 and rate over 0"):
            open_source("moving_digits", **options)


def test_a_batch_takes_milliseconds() -> None:
    source = opened()
    seconds = []
    for i in range(5):
        start = time.perf_counter()
        source.take(np.arange(64) * 17 + i)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1  # 10 ms on two cores that are free


@pytest.mark.usefixtures("own_data")
def test_the_digits_are_real_and_of_a_split_of_their_own() -> None:
    found = [open_source("moving_digits", split=split) for split in ("train", "test")]
    assert [(source.origin, len(source.digits)) for source in found] == [("mnist_5k", 4500), ("mnist_5k", 500)]
    own, others = ({x.tobytes() for x in s.digits.take(np.arange(len(s.digits)))["x"]} for s in found)
    assert not own & others
