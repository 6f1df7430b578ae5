"""`metrics.jsonl` and `result.json` in a run's folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from runner.loggers.logger import Logger, Run
from runner.metrics.plain import for_json
from runner.metrics.records import MOST, Row
from runner.metrics.run_files import METRICS, RESULT, line
from runner.whole_file import whole_file

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds from one failed attempt to the next; the last one from then on."""


class MetricsFile(Logger):
    """Writes each row as a line of `metrics.jsonl`, and in the end `result.json`.

    When a run goes on, the file begins with all rows before: what an earlier process has written after the snapshot is not
    in it, whichever folder that is in. A line is handed to the system at once, so it outlives a kill of the process.

    A disk that is full costs a warning. Lines wait, as many as a snapshot keeps, until there is room again.

    Args:
        folder: the run's.
        mode: permissions of the files. Default: the umask's.
    """

    def __init__(self, folder: str | Path, mode: int | None = None) -> None:
        self.folder = Path(folder)
        self.mode = mode
        self._file: BinaryIO | None = None
        self._size = 0
        self._waiting: list[str] = []
        self._failed = 0
        self._again = 0.0
        self._told = False

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        with suppress(OSError):  # writing the file says it
            (self.folder / RESULT).unlink(missing_ok=True)  # it is of an earlier run in this folder
        self._waiting = list(map(line, rows))
        self._write()

    def log(self, row: Row) -> None:
        self._waiting.append(line(row))
        if not self._failed or time.monotonic() >= self._again:
            self._write()
        elif len(self._waiting) > 2 * MOST:
            del self._waiting[:-MOST]

    def finish(self, result: Mapping[str, Any]) -> None:
        if self._waiting:
            self._write()
        if self._file is not None:
            self._file.close()
            self._file = None
        try:
            text = json.dumps(for_json(result), indent=1, allow_nan=False)
            _write(self.folder / RESULT, f"{text}\n".encode(), self.mode)
        except OSError as error:
            self._tell(error)

    def _write(self) -> None:
        """Writes the lines that wait; if that fails, they go on waiting."""
        try:
            self._take_back()
            data = "".join(self._waiting).encode()
            if self._file is None:
                _write(self.folder / METRICS, data, self.mode)
                self._file = open(self.folder / METRICS, "r+b", buffering=0)  # noqa: SIM115 - finish() closes it
            # What an earlier attempt has left of a line is written over.
            elif data and os.pwrite(self._file.fileno(), data, self._size) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / METRICS))
        except OSError as error:
            self._again = time.monotonic() + PAUSES[min(self._failed, len(PAUSES) - 1)]
            self._failed += 1
            self._tell(error)
        else:
            self._size += len(data)
            self._waiting = []
            self._failed = 0

    def _take_back(self) -> None:
        """Has the lines of a file wait again that somebody has deleted."""
        if self._file is None or os.fstat(self._file.fileno()).st_nlink:
            return
        log.warning("%s has been deleted; it is written anew", self.folder / METRICS)
        with self._file as file:
            self._waiting.insert(0, os.pread(file.fileno(), self._size, 0).decode())
        self._file, self._size = None, 0

    def _tell(self, error: OSError) -> None:
        if not self._told:
            log.warning("The metrics cannot be written (%s); the run goes on, and it is tried again", error)
        self._told = True


def _write(path: Path, data: bytes, mode: int | None) -> None:
    """Writes a file that survives a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, 0o666 if mode is None else mode & 0o666) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
