"""The logs of a run: rows that survive a stop, events for TensorBoard, a display that does not flood."""

import io
import json
import math
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_art.train import logs
from genjax_art.train.curves import draw_curves, group_panels, running_mean
from genjax_art.train.logs import run_log
from genjax_art.train.rows import read_metrics


class Clock:
    """Time that passes only when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "monotonic", clock)
    return clock


def write_rows(folder: Path, steps: range, start_step: int = 0, loss: float = 0.5) -> None:
    with run_log(folder, total_steps=100, batch_size=8, start_step=start_step, quiet=True) as log:
        for step in steps:
            log.scalars(step, {"generator/loss": loss})


# metrics.jsonl


def test_rows_hold_counts_time_and_metrics(tmp_path: Path, clock: Clock) -> None:
    with run_log(tmp_path, total_steps=20, batch_size=8, quiet=True) as log:
        clock.now += 30  # compiling
        log.progress(1)
        clock.now += 2
        log.scalars(5, {"vae/loss": 1.5})
        assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1  # on disk at once
        clock.now += 4
        log.scalars(7, {"vae/loss": 0.5})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 5, "images": 40, "seconds": 32.0, "images_per_second": 16.0, "vae/loss": 1.5},
        {"step": 7, "images": 56, "seconds": 36.0, "images_per_second": 4.0, "vae/loss": 0.5},
    ]


def test_non_finite_numbers_are_strict_json_and_come_back(tmp_path: Path) -> None:
    values = {"a/loss": math.nan, "b/loss": math.inf, "c/loss": -math.inf, "d/loss": 1e-300}
    with run_log(tmp_path, total_steps=20, batch_size=8, quiet=True) as log:
        log.scalars(1, values)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    np.testing.assert_array_equal([row[key] for key in values], list(values.values()))


def test_resume_drops_the_steps_it_will_do_again(tmp_path: Path) -> None:
    write_rows(tmp_path, range(10, 60, 10), loss=1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "generator/lo')  # killed while it wrote
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [10, 20, 30, 40, 50]
    write_rows(tmp_path, range(40, 70, 10), start_step=30, loss=2.0)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["generator/loss"]) for row in rows] == [
        (10, 1.0), (20, 1.0), (30, 1.0), (40, 2.0), (50, 2.0), (60, 2.0),
    ]  # fmt: skip
    write_rows(tmp_path, range(10, 20, 10))
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [10]  # a new start keeps none


def test_seconds_go_on_after_a_resume(tmp_path: Path, clock: Clock) -> None:
    for start_step in (0, 10):
        with run_log(tmp_path, total_steps=20, batch_size=8, start_step=start_step, quiet=True) as log:
            clock.now += 5
            log.scalars(start_step + 10, {})
        clock.now += 10_000  # the night between
    assert [row["seconds"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [5.0, 10.0]


def test_a_step_is_logged_once_and_columns_are_kept(tmp_path: Path) -> None:
    with run_log(tmp_path, total_steps=20, batch_size=8, quiet=True) as log:
        log.scalars(10, {})
        with pytest.raises(ValueError, match=r"step 10 .* after step 10"):
            log.scalars(10, {})
        with pytest.raises(ValueError, match="'seconds'"):
            log.scalars(11, {"seconds": 1.0})


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n[2]\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(path)


# TensorBoard


def read_events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_tensorboard_reads_scalars_and_pictures(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    with run_log(tmp_path, total_steps=20, batch_size=8, quiet=True) as log:
        log.scalars(5, {"vae/loss": 1.5, "vae/kl": math.nan})
        log.scalars(10, {"vae/loss": 0.5, "vae/kl": 2.0})
        log.image(10, "samples", picture)
        log.image(10, "grey", picture[..., :1])
    events = read_events(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("vae/loss")] == [(5, 1.5), (10, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("vae/kl")] == [(10, 2.0)]
    (event,) = events.Images("samples")
    assert event.step == 10
    with Image.open(io.BytesIO(event.encoded_image_string)) as read:
        np.testing.assert_array_equal(np.asarray(read), picture)
    (event,) = events.Images("grey")
    assert struct.unpack(">II", event.encoded_image_string[16:24]) == (9, 6)  # the header of a PNG


def test_tensorboard_forgets_the_steps_done_again(tmp_path: Path) -> None:
    write_rows(tmp_path, range(10, 60, 10), loss=1.0)
    write_rows(tmp_path, range(40, 70, 10), start_step=30, loss=2.0)
    scalars = read_events(tmp_path).Scalars("generator/loss")
    assert [(event.step, event.value) for event in scalars] == [
        (10, 1.0), (20, 1.0), (30, 1.0), (40, 2.0), (50, 2.0), (60, 2.0),
    ]  # fmt: skip


def test_the_logs_are_closed_when_the_run_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        run_log(tmp_path, total_steps=20, batch_size=8, quiet=True) as log,
    ):
        log.scalars(5, {"vae/loss": 1.5})
        raise KeyboardInterrupt
    assert [event.value for event in read_events(tmp_path).Scalars("vae/loss")] == [1.5]


# progress


def test_progress_text_tells_speed_and_time_left() -> None:
    text = logs.progress_text(1200, 5000, 842.4, 80.2, "generator 0.5")
    assert text == "1,200/5,000  842 images/s  01:20 left  generator 0.5"
    assert logs.progress_text(1, 9, math.nan, math.inf, "") == "1/9  - images/s  -:-- left"
    assert "1:01:01 left" in logs.progress_text(1, 9, 1.0, 3661.0, "")


def test_lines_come_every_ten_seconds_and_at_the_end(
    tmp_path: Path, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    with run_log(tmp_path, total_steps=25, batch_size=8) as log:
        for step in range(1, 26):
            clock.now += 1
            log.progress(step, {"generator/loss": step / 10, "generator/grad_norm": 3.0})
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "10/25  8 images/s  00:15 left  generator 1",
        "20/25  8 images/s  00:05 left  generator 2",
        "25/25  8 images/s  00:00 left  generator 2.5",
    ]


def test_quiet_says_nothing(tmp_path: Path, clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with run_log(tmp_path, total_steps=3, batch_size=8, quiet=True) as log:
        for step in range(1, 4):
            clock.now += 20
            log.progress(step, {"generator/loss": 1.0})
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.setitem(os.environ, "COLUMNS", "120")
    with run_log(tmp_path, total_steps=3, batch_size=8) as log:
        for step in range(1, 4):
            log.progress(step, {"generator/loss": 0.25})
    assert "━" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "generator 0.25" in terminal.getvalue()
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is back


# curves


def test_metrics_share_the_panels_of_the_field() -> None:
    names = [
        "discriminator/real_probability", "discriminator/loss", "generator/loss",
        "discriminator/fake_probability", "vae/kl", "generator/learning_rate", "generator/grad_norm",
        "fid", "ema/fid",
    ]  # fmt: skip
    assert group_panels(names) == {
        "Loss": {"discriminator/loss": "discriminator", "generator/loss": "generator"},
        "Discriminator output": {
            "discriminator/real_probability": "D(x)",
            "discriminator/fake_probability": "D(G(z))",
        },
        "Evidence lower bound": {"vae/kl": "KL"},
        "Gradient norm": {"generator/grad_norm": "generator"},
        "Learning rate": {"generator/learning_rate": "generator"},
        "Fid": {"fid": "fid", "ema/fid": "ema"},
    }


@pytest.mark.parametrize("width", [1, 2, 5])
def test_running_mean_skips_what_is_not_finite(width: int) -> None:
    y = np.array([1.0, np.nan, 3.0, 8.0, np.inf, np.nan, np.nan, np.nan, np.nan, np.nan])
    for i, mean in enumerate(running_mean(y, width)):
        window = y[max(0, i - width // 2) : i + (width + 1) // 2]
        values = window[np.isfinite(window)]
        np.testing.assert_allclose(mean, values.mean() if len(values) else np.nan)


def gan_rows(n: int) -> list[dict]:
    return [
        {"step": i, "seconds": 1.0, "generator/loss": 1.0 / i, "generator/grad_norm": 10.0**-i,
         "discriminator/real_probability": 0.6}
        for i in range(1, n + 1)
    ]  # fmt: skip


BROKEN = [row | {"generator/loss": math.nan, "generator/grad_norm": -math.inf, "vae/kl": None} for row in gan_rows(3)]


@pytest.mark.parametrize("rows", [gan_rows(1), gan_rows(2), gan_rows(150), BROKEN, gan_rows(3) + BROKEN, []])
def test_curves_are_drawn_of_any_rows(tmp_path: Path, rows: list[dict]) -> None:
    draw_curves(rows, tmp_path / "curves.png")
    first = (tmp_path / "curves.png").read_bytes()
    with Image.open(tmp_path / "curves.png") as read:
        pixels = np.asarray(read.convert("L"))
    assert pixels.shape[0] > 200
    assert (pixels < 128).sum() > 100  # there is ink
    draw_curves(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_curve_has_its_place_on_the_sheet(tmp_path: Path) -> None:
    draw_curves([{"step": i, "a/loss": float(i)} for i in range(100)], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as read:
        pixels = np.asarray(read.convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - np.array([0x00, 0x72, 0xB2])).sum(-1) < 30)
    curve = columns > columns.min() + 80  # past the legend, on the upper left
    slope, _ = np.polyfit(columns[curve], rows[curve], 1)
    assert np.corrcoef(columns[curve], rows[curve])[0, 1] < -0.999  # a straight line
    assert slope < -0.3  # which rises (rows count from the top)
