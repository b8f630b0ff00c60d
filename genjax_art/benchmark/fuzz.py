"""Damaged and hostile files of every kind that is read: each is opened or refused in one line, soon.

python -m genjax_art.benchmark fuzz [--cases 10000] [--seed 0] [--only config metrics midi pictures clips checkpoint]
    [--json FILE]

A case is a valid file, changed at random (see `mutate.py`), and read as the entry scripts read it. Whatever is raised
but is no word to the user counts as a traceback, and what takes longer than `--limit` seconds as a hang; the status is
1 where there is any.
"""

import contextlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.benchmark.mutate import mutated_bytes, mutated_json, mutated_lines
from genjax_art.build import build_plan, complete, load_preset
from genjax_art.config import Experiment, with_run
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.music.notes import roll_spec
from genjax_art.options import parse, typed
from genjax_art.run import changes, layout
from genjax_art.run.load import build_saved, load_state, read_experiment
from genjax_art.spec import ArraySpec
from genjax_art.train.rows import METRICS_FILE, PENDING_FILE, Digest, encode_row, keep_rows, read_pending, write_pending

Case = Callable[[random.Random], Any]  # writes a damaged file and reads it
PICTURE = ArraySpec((32, 32, 3))
CLIP = ArraySpec((4, 32, 32, 3), kind="clip", rate=10.0)


@dataclass(frozen=True)
class Command:
    """Read damaged files of every kind."""

    cases: int = 10_000
    """In all, shared by the kinds."""
    seed: int = 0
    """Of the damage; a failure names its own case."""
    only: tuple[str, ...] = ()
    """Kinds of files: config, metrics, midi, pictures, clips, checkpoint (default: all)."""
    limit: float = 20.0
    """Seconds that a case may take."""
    json: Path | None = None
    """Write the counts and the failures there too."""


@dataclass(frozen=True)
class Failure:
    kind: str
    case: int
    what: str  # "traceback" or "hang"
    error: str


class Hang(BaseException):
    """A case took too long. No Exception, so that nobody catches it on the way."""


def of_config(folder: Path) -> Case:
    """config.json of a run folder, up to the shapes of its training state."""
    grey, points = ArraySpec((28, 28, 1)), ArraySpec((2,), kind="points", bounded=False)
    specs = {"mlp-vae": grey, "mlp-gan": grey, "ring8": points, "music-vae-small": roll_spec(2, 4)}
    valid = []
    for name, spec in specs.items():
        experiment = complete(load_preset(name))
        valid.append(json.loads(json.dumps(build_plan(_without_labels(experiment), spec).config)))

    def read(rng: random.Random) -> None:
        run = folder / "run"
        run.mkdir(exist_ok=True)
        (run / layout.CONFIG).write_bytes(mutated_json(rng.choice(valid), rng))
        experiment, spec = read_experiment(run)
        changes.history(run)
        typed(experiment)
        build_saved(experiment, spec, run)

    return read


def _without_labels(experiment: Experiment) -> Experiment:
    model = experiment.model
    options = {name: False if name == "conditional" else value for name, value in model.options.items()}
    return Experiment(**{**vars(experiment), "model": type(model)(model.name, options)})


def of_metrics(folder: Path) -> Case:
    """metrics.jsonl, and the note of what is not yet in it, as a run that resumes reads them."""
    rows = [{"step": step, "images": 8 * step, "seconds": step / 7, "vae/loss": 1 / step} for step in range(5, 100, 5)]
    valid = "".join(encode_row(row) + "\n" for row in rows).encode()
    write_pending(folder, 97, Digest(rows).hex(), [{"vae/loss": 0.5}] * 2, kept=[])
    pending = (folder / PENDING_FILE).read_bytes()

    def read(rng: random.Random) -> None:
        lines = mutated_lines(valid, rng, mutated_bytes) if rng.random() < 0.7 else mutated_bytes(valid, rng)
        (folder / METRICS_FILE).write_bytes(lines)
        note = mutated_json(json.loads(pending), rng) if rng.random() < 0.5 else pending
        (folder / PENDING_FILE).write_bytes(note)
        read_pending(folder, 97, keep_rows(folder / METRICS_FILE, 97))

    return read


def of_midi(folder: Path) -> Case:
    """A piece of music, as `sample.py RUN continue --midi` reads it."""
    import mido

    from genjax_art.music.midi import read_midi

    file = mido.MidiFile(ticks_per_beat=96)
    for channel in range(2):
        track = mido.MidiTrack()
        file.tracks.append(track)
        track.append(mido.MetaMessage("time_signature", numerator=4, denominator=4, time=0))
        for pitch in range(60, 76):
            track.append(mido.Message("note_on", note=pitch, velocity=64, channel=channel, time=0))
            track.append(mido.Message("note_off", note=pitch, velocity=0, channel=channel, time=48))
    whole = io.BytesIO()
    file.save(file=whole)
    path = folder / "mine.mid"

    def read(rng: random.Random) -> None:
        path.write_bytes(mutated_bytes(whole.getvalue(), rng))
        read_midi(path)

    return read


def of_pictures(folder: Path) -> Case:
    """A picture, as `sample.py RUN vary --file` reads it."""
    from PIL import Image

    from genjax_art.media.image import read_picture

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    valid = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        with contextlib.suppress(KeyError, OSError):  # Pillow was built without it
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, kind)
            valid.append(file.getvalue())
    path = folder / "picture.png"

    def read(rng: random.Random) -> None:
        path.write_bytes(mutated_bytes(rng.choice(valid), rng))
        read_picture(path, PICTURE)

    return read


def of_clips(folder: Path) -> Case:
    """A clip, as `sample.py RUN continue --clip` reads it: GIF, WebP, APNG, a strip and, with PyAV, MP4."""
    from genjax_art.films import lacking
    from genjax_art.media.clip import read_clip, write_samples
    from genjax_art.media.image import write_png

    x = np.random.default_rng(0).uniform(-1, 1, (1, *CLIP.shape)).astype(np.float32)
    films = [folder / name for name in ("x.gif", "x.webp", "x.apng", "x.mp4") if not lacking(Path(name))]
    for film in films:
        write_samples(film, x, CLIP, {"seed": "0"})
    write_png(folder / "strip.png", np.zeros((32, 4 * 32, 3), np.uint8), {})
    valid = [(path, path.read_bytes()) for path in (*films, folder / "strip.png")]

    def read(rng: random.Random) -> None:
        path, whole = rng.choice(valid)
        path.write_bytes(mutated_bytes(whole, rng))
        read_clip(path, CLIP)

    return read


def of_checkpoint(folder: Path) -> Case:
    """A checkpoint of which one file is damaged, as `sample.py RUN` reads it."""
    from genjax_art.run.training import initial_state
    from genjax_art.train.checkpoint import Checkpoints

    experiment = _without_labels(complete(load_preset("ring8")))
    options = {name: min(value, 4) if type(value) is int else value for name, value in experiment.model.options.items()}
    small = Experiment(**{**vars(experiment), "model": type(experiment.model)(experiment.model.name, options)})
    plan = build_plan(with_run(small, steps=2), ArraySpec((2,), kind="points", bounded=False))
    whole, run = folder / "whole", folder / "damaged"
    layout.write_config(whole, plan.config)
    with Checkpoints(whole / layout.CHECKPOINTS) as checkpoints:
        checkpoints.save(2, initial_state(plan).replace(step=np.int32(2)), 0.5)
    files = sorted(path.relative_to(whole) for path in (whole / layout.CHECKPOINTS).rglob("*") if path.is_file())

    def read(rng: random.Random) -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        path = run / rng.choice(files)
        data = path.read_bytes()
        if data[:1] == b"{" and rng.random() < 0.7:
            path.write_bytes(mutated_json(json.loads(data), rng))
        elif rng.random() < 0.1:
            path.unlink()
        else:
            path.write_bytes(mutated_bytes(data, rng))
        load_state(plan, run)

    return read


KINDS: dict[str, Callable[[Path], Case]] = {
    "config": of_config,
    "metrics": of_metrics,
    "midi": of_midi,
    "pictures": of_pictures,
    "clips": of_clips,
    "checkpoint": of_checkpoint,
}
SHARE = {"checkpoint": 0.1}  # of the cases of another kind, since they take longer


def fuzz(kinds: Sequence[str], cases: int, seed: int, limit: float) -> tuple[Counter[str], list[Failure]]:
    """How many cases of each kind there were and how they ended, and the failures."""
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    shares = {kind: SHARE.get(kind, 1.0) for kind in kinds}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder, _quiet() as said:
            case = KINDS[kind](Path(folder))
            for number in range(max(1, round(cases * shares[kind] / sum(shares.values())))):
                end, error = _tried(case, random.Random(f"{kind} {seed} {number}"), limit)
                if end in ("opened", "refused") and "Traceback" in said.getvalue():  # of another thread
                    end, error = "traceback", said.getvalue()
                said.seek(0)
                said.truncate()
                counts[f"{kind} {end}"] += 1
                if end in ("traceback", "hang"):
                    failures.append(Failure(kind, number, end, error))
    return counts, failures


def _tried(case: Case, rng: random.Random, limit: float) -> tuple[str, str]:
    """How a case ended: opened, refused, traceback or hang; and its error."""
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        case(rng)
        end, error = "opened", ""
    except (UsageError, RunError) as refusal:
        end, error = ("traceback", f"two lines: {refusal}") if "\n" in str(refusal) else ("refused", "")
    except Hang:
        end, error = "hang", traceback.format_exc()
    except Exception:
        end, error = "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return ("hang", error) if time.monotonic() - began > limit else (end, error)


def _alarm(number: int, frame: Any) -> None:
    raise Hang(f"signal {number}")


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Gathers what is said of each damaged file: it would be thousands of lines."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield said


def main(arguments: Sequence[str]) -> None:
    command = parse(Command, arguments, "python -m genjax_art.benchmark fuzz", __doc__)
    for kind in command.only:
        if kind not in KINDS:
            raise unknown("kind of file", kind, KINDS)
    if command.cases < 1 or command.limit <= 0:
        raise UsageError("--cases and --limit must be above 0")
    counts, failures = fuzz(command.only or tuple(KINDS), command.cases, command.seed, command.limit)
    print("\n".join(f"{name:<24}{count:>8,}" for name, count in sorted(counts.items())))
    for failure in failures[:10]:
        print(f"\n{failure.kind}, case {failure.case}: {failure.what}\n{failure.error.strip()[-1500:]}")
    if command.json is not None:
        report = {"seed": command.seed, "counts": dict(counts), "failures": [asdict(failure) for failure in failures]}
        command.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if failures:
        print(f"\n{len(failures)} of {sum(counts.values())} cases ended in a traceback or a hang")
        sys.exit(1)
