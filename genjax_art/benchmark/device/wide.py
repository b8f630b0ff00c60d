"""R3GAN at the width of its paper, 32x32 in colour, batches of 512 (arXiv:2501.05441): speed, share of the peak."""

import dataclasses
from collections.abc import Iterator

from genjax_art.benchmark.device.row import Row, in_precision
from genjax_art.benchmark.device.steps import ours
from genjax_art.build import complete, load_preset
from genjax_art.config import Component, Experiment, with_run

GOAL = 0.4  # of the measured peak
MICRO_BATCHES = (4, 2)  # the first is known to fit into 139 GiB; choosing kernels takes more than a minute for each
SHAPE, CLASSES = (32, 32, 3), tuple("0123456789")


def rows(tiny: bool) -> Iterator[Row]:
    experiment = complete(load_preset("r3gan-cifar10"))
    if tiny:
        model = Component("r3gan", {**experiment.model.options, "widths": (16,), "blocks": 1})
        experiment = with_run(dataclasses.replace(experiment, model=model), batch_size=8)
    precision = "float32" if tiny else "bfloat16"
    for parts in (1,) if tiny else MICRO_BATCHES:
        yield one(in_precision(experiment, precision), precision, parts, tiny)


def one(experiment: Experiment, precision: str, parts: int, tiny: bool) -> Row:
    """In that many micro-batches; a row without a share where they have no room."""
    name = f"r3gan-cifar10, {precision}, {parts} micro-batches"
    try:
        values = ours(with_run(experiment, micro_batches=parts), SHAPE, precision, 1, tiny, CLASSES)
    except Exception as error:  # XLA's own, of memory
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Row(name, note="out of memory")
    values["seconds_per_kimg"] = round(1e3 / values["images_per_s"], 3)
    holds = None if tiny else values["share_of_peak"] >= GOAL
    return Row(name, values, holds)
