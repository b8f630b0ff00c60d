"""TensorBoard events, written by the caller: there a full disk is an error, and no thread waits for another."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

FLUSH_SECONDS = 30.0


class Events:
    """A new file of events in `folder`, of a run from `start_step` on: TensorBoard forgets the later steps before."""

    def __init__(self, folder: Path, start_step: int):
        with _without("torch"):
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2

        folder.mkdir(parents=True, exist_ok=True)
        self._proto: Any = event_pb2
        # two parts begun in one second would else share a file
        self._writer = EventsWriter(str(folder / "events"), f".{start_step:09d}")
        self._flushed = time.monotonic()
        forget = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._add(event_pb2.Event(step=start_step + 1, file_version="brain.Event:2"))
        self._add(event_pb2.Event(step=start_step + 1, session_log=forget))

    def scalar(self, step: int, name: str, value: float) -> None:
        from tensorboardX import summary

        self._add(self._proto.Event(step=step, summary=summary.scalar(name, value)))

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "h w c"]) -> None:
        from tensorboardX import summary

        self._add(self._proto.Event(step=step, summary=summary.image(name, image, dataformats="HWC")))

    def close(self) -> None:
        """Raises OSError where what was not yet written cannot be."""
        try:
            self._writer.close()
        except OSError:  # it flushes first, and then is left open
            with suppress(OSError):
                self._writer._py_recordio_writer.close()
            raise

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            self._writer.flush()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """As if the module were not installed: tensorboardX loads it where it is, which takes seconds, for no use here."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
