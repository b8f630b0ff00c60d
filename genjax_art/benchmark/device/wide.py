"""R3GAN at the width of its paper, 32x32 in colour, batches of 512 (arXiv:2501.05441): speed, share of the peak."""

import dataclasses
from collections.abc import Iterator

from genjax_art.benchmark.device.row import Row, in_precision
from genjax_art.benchmark.device.steps import ours
from genjax_art.build import complete, load_preset
from genjax_art.config import Component, Experiment, with_run

GOAL = 0.4  # of the measured peak
SHAPE, CLASSES = (32, 32, 3), tuple("0123456789")


def rows(tiny: bool) -> Iterator[Row]:
    experiment = complete(load_preset("r3gan-cifar10"))
    if tiny:
        model = Component("r3gan", {**experiment.model.options, "widths": (16,), "blocks": 1})
        experiment = with_run(dataclasses.replace(experiment, model=model), batch_size=8)
    for precision in ("float32",) if tiny else ("bfloat16",):
        yield one(in_precision(experiment, precision), precision, tiny)


def one(experiment: Experiment, precision: str, tiny: bool) -> Row:
    """In the fewest micro-batches that the memory has room for."""
    refused = []
    for parts in (1,) if tiny else (2, 4, 8):
        try:
            values = ours(with_run(experiment, micro_batches=parts), SHAPE, precision, 1, tiny, CLASSES)
            break
        except Exception as error:  # XLA's own, of memory
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            refused.append(parts)
    else:
        return Row(f"r3gan-cifar10, {precision}", {}, False, "out of memory in 8 micro-batches, too")
    values |= {
        "micro_batches": parts,
        "seconds_per_kimg": round(1e3 / values["images_per_s"], 3),
    }
    note = f"out of memory in {', '.join(map(str, refused))}" if refused else ""
    holds = None if tiny or precision != "bfloat16" else values["share_of_peak"] >= GOAL
    return Row(f"r3gan-cifar10, {precision}", values, holds, note)
