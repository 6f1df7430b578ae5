"""TensorBoard: event files in a folder that all processes of a run share."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from runner.loggers.logger import Run
from runner.loggers.points import Point
from runner.loggers.tracker import Tracker
from runner.text import as_name

# torch.utils.tensorboard has no types.
# mypy: disable-error-code="no-untyped-call"


class TensorBoard(Tracker):
    """Writes the run into `FOLDER/NAME-ID`, which `tensorboard --logdir FOLDER` shows as one run.

    Each process writes an event file of its own there. One that was killed leaves a file whose end may be torn, which all
    readers pass over.

    Args:
        folder: of all runs.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self._file: BinaryIO | None = None

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = Path(self.folder) / f"{as_name(run.name)}-{run.id[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        self._drop_empty()
        there: set[tuple[str, int]] = set()
        for path in sorted(folder.glob("events.out.tfevents.*")):
            for event in LegacyEventFileLoader(str(path)).Load():
                there.update((value.tag, event.step) for value in event.summary.value)
        name = f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}"
        self._file = open(folder / name, "xb")  # noqa: SIM115 - close() closes it
        self._writer = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        if ("parameters/text_summary", 0) not in there:
            self._describe(run)
        self._file.flush()
        return there

    def _drop_empty(self) -> None:
        """Closes the file of an attempt that has failed, and removes it if there was no room for anything."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            if not os.path.getsize(self._file.name):
                os.unlink(self._file.name)

    def _describe(self, run: Run) -> None:
        """Writes what the run is: as text, and as the parameters by which TensorBoard compares runs."""
        from torch.utils.tensorboard.summary import hparams, text

        known = {"log_id": run.log_id, "overrides": " ".join(run.overrides), **run.versions, **run.parameters}
        table = "\n".join(["| key | value |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in known.items())])
        self._add(summary=text("parameters", table))
        compared = {key: value for key, value in run.parameters.items() if isinstance(value, bool | int | float | str)}
        for summary in hparams(compared, {})[:2]:
            self._add(summary=summary)

    def write(self, new: Sequence[Point]) -> None:
        from torch.utils.tensorboard.summary import scalar

        for point in new:
            self._add(step=point.step, summary=scalar(point.name, point.value))
        assert self._file is not None
        self._file.flush()

    def close(self, result: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.close()

    def _add(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **event).SerializeToString())


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
