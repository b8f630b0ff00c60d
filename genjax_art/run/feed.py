"""What a run feeds to its steps: batches from the host, or the numbers of rows of data that lie on the device."""

from collections.abc import Generator, Mapping
from math import gcd
from typing import Any

import jax
import numpy as np

from genjax_art.build import Plan
from genjax_art.data.batches import batches, row_numbers, to_range
from genjax_art.data.contract import Source
from genjax_art.train.resident import HOST, LEVELS, Resident

SHARE = 0.25  # of the device's memory that the data may take
MOST = 2**30  # bytes, where the device does not say how much it has
BLOCK = 4096  # examples read from a source at once
LONGEST = 25  # steps of a call, unless asked for more


def stream_of(
    plan: Plan, source: Source, start: int, data: Resident = HOST
) -> Generator[dict[str, np.ndarray], None, None]:
    """The batches from step `start` on; with several seeds each member's are those of its own seed.

    Of data that lie on the device they are the numbers of the rows.
    """

    def of_seed(seed: int) -> Generator[dict[str, np.ndarray], None, None]:
        order = {"batch_size": plan.images_per_step, "seed": seed, "start": start}
        return row_numbers(len(source), **order) if data.arrays else batches(source, **order)

    return plan.seeds.stream(of_seed)


def steps_per_call(plan: Plan) -> int:
    """As asked for. By default 1 on CPU; elsewhere the largest number up to 25 that divides the cycles of the run.

    So no log, sample or checkpoint waits for the end of a call.
    """
    run = plan.run
    if run.steps_per_call:
        return run.steps_per_call
    if jax.default_backend() == "cpu":
        return 1
    common = gcd(run.log_every, run.sample_every, run.save_every)
    return max(k for k in range(1, LONGEST + 1) if common % k == 0)


def data_of(plan: Plan, source: Source) -> Resident:
    """What lies on the device: all of `source` where a call makes several steps and the device has room, else nothing.

    Batches of it equal bit for bit those of `batches.batch_at`. They may take a quarter of the device's memory.
    """
    if steps_per_call(plan) == 1:
        return HOST
    probe: Mapping[str, np.ndarray] = source.take(np.zeros(1, np.int64))
    kept = [name for name in ("x", "label") if name in probe]
    if len(source) * sum(probe[name].nbytes for name in kept) > _room():
        return HOST
    blocks = [dict(source.take(np.arange(i, min(i + BLOCK, len(source))))) for i in range(0, len(source), BLOCK)]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in kept}
    if arrays["x"].dtype == np.uint8:
        arrays[LEVELS] = to_range(np.arange(256, dtype=np.uint8), source.spec)
    return Resident(arrays)


def _room() -> int:
    stats: Mapping[str, Any] = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return MOST if limit is None else int(SHARE * limit)
