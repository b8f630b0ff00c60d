"""A trace of `jax.profiler`, read: which operations took a device's time, and how long it had nothing to do.

The file is `trace.json.gz`, of Chrome's trace event format. What counts as a device's event depends on the platform:
  GPU  what is on the streams (kernels and copies); lanes that XLA derives of them ("XLA Ops") say the same again.
  TPU  the lane "XLA Ops".
  CPU  events of XLA's executor, on whatever thread; one that hands work to a pool of threads and does not wait for it
       is as long as the handing over. Work of the pool is not seen, but the wait for its end is.
Loops, branches and calls are left out: what is within them has events of its own.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

CONTAINERS = ("while", "conditional", "call")  # names of HLO operations, up to a dot
WAITING = "ThunkExecutor::Execute (wait for completion)"  # on CPU: of the program for its last operations


class Event(NamedTuple):
    """Of a device: what it did, from when on and how long, in microseconds."""

    name: str
    start: float
    length: float


class DeviceEvents(NamedTuple):
    taken: str
    """Which lanes they are of, in words."""
    operations: list[Event]
    busy: list[Event]
    """All in which the device was not idle: the operations, on CPU also waits for operations."""


NO_EVENTS = DeviceEvents("not known", [], [])


def device_events(trace_file: Path) -> DeviceEvents:
    """All events of the devices in `trace_file`, a `trace.json.gz`; none where it has none."""
    found = json.loads(gzip.decompress(trace_file.read_bytes()))["traceEvents"]
    processes, threads = _names(found, "process_name"), _names(found, "thread_name")
    whole = [event for event in found if event.get("ph") == "X"]

    def on_lanes(begin: str) -> list[Event]:
        return [
            _event(event)
            for event in whole
            if processes.get((event["pid"], None), "").startswith("/device:")
            and threads.get((event["pid"], event["tid"]), "").startswith(begin)
        ]

    for lane, words in (("Stream", "streams of the device"), ("XLA Ops", "XLA Ops of the device")):
        if events := [event for event in on_lanes(lane) if not _is_container(event.name)]:
            return DeviceEvents(words, events, events)
    executed = [event for event in whole if "hlo_op" in event.get("args", {})]
    operations = [_event(event) for event in executed if not _is_container(event["args"]["hlo_op"])]
    waits = [_event(event) for event in whole if event["name"] == WAITING]
    return DeviceEvents("XLA's executor on CPU", operations, operations + waits) if operations else NO_EVENTS


def traced(call: Callable[[], Any], place: Path) -> tuple[DeviceEvents, Path | None]:
    """What the devices did in one call, and the trace file that JAX wrote below `place`, where it did."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # calls of Python would crowd out the device's events
    with jax.profiler.trace(place, profiler_options=options):
        jax.block_until_ready(call())
    written = place.glob("plugins/profile/*/*.trace.json.gz")
    newest = max(written, key=lambda path: path.stat().st_mtime, default=None)
    return (device_events(newest) if newest else NO_EVENTS), newest


def summed(events: list[Event]) -> list[tuple[str, float]]:
    """Each name with the sum of its lengths, the longest first."""
    total: Counter[str] = Counter()
    for event in events:
        total[event.name] += event.length  # type: ignore[assignment]  # a Counter of floats
    return [(name, float(length)) for name, length in total.most_common()]


def longest(events: DeviceEvents, most: int) -> dict[str, float]:
    """The operations that took most, with their shares of the time of all."""
    found = summed(events.operations)
    whole = sum(length for _, length in found)
    return {name: length / whole for name, length in found[:most]}


def idle_share(events: list[Event]) -> float | None:
    """The share of the time from the first event to the last in which there is none; None without events."""
    if not events:
        return None
    spans = list(_joined(events))
    whole = spans[-1][1] - spans[0][0]
    return 1 - sum(end - start for start, end in spans) / whole if whole > 0 else None


def _joined(events: list[Event]) -> Iterator[tuple[float, float]]:
    """The times at which at least one event is, ascending."""
    ordered = sorted(events, key=lambda event: event.start)
    start, end = ordered[0].start, ordered[0].start + ordered[0].length
    for event in ordered:
        if event.start > end:
            yield start, end
            start = event.start
        end = max(end, event.start + event.length)
    yield start, end


def _names(found: list[dict[str, Any]], what: str) -> dict[tuple[int, int | None], str]:
    """Of processes by (pid, None), of threads by (pid, tid)."""
    return {
        (event["pid"], event.get("tid") if what == "thread_name" else None): str(event["args"].get("name", ""))
        for event in found
        if event.get("ph") == "M" and event.get("name") == what
    }


def _event(event: dict[str, Any]) -> Event:
    return Event(str(event["name"]), float(event["ts"]), float(event.get("dur", 0)))


def _is_container(name: str) -> bool:
    return name.split(".")[0] in CONTAINERS
