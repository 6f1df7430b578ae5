"""`metrics.jsonl` and `result.json` in a run's folder."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any

from runner.loggers.logger import Logger, Run
from runner.metrics.records import Row
from runner.metrics.run_files import METRICS, RESULT, finite, line


class MetricsFile(Logger):
    """Writes each row as a line of `metrics.jsonl`, and in the end `result.json`.

    When a run goes on, the file begins with all rows before: what an earlier process has written after the snapshot is not
    in it, whichever folder that is in. A line is handed to the system at once, so it outlives a kill of the process.

    Args:
        folder: the run's.
        mode: permissions of the files. Default: the umask's.
    """

    def __init__(self, folder: str | Path, mode: int | None = None) -> None:
        self.folder = Path(folder)
        self.mode = mode
        self._file: RawIOBase | None = None

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        (self.folder / RESULT).unlink(missing_ok=True)  # it is of an earlier run in this folder
        _write(self.folder / METRICS, "".join(map(line, rows)), self.mode)
        self._file = open(self.folder / METRICS, "ab", buffering=0)  # noqa: SIM115 - finish() closes it

    def log(self, row: Row) -> None:
        data = line(row).encode()
        if self._file is not None and self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / METRICS))

    def finish(self, result: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        write_result(self.folder, result, self.mode)


def write_result(folder: str | Path, result: Mapping[str, Any], mode: int | None = None) -> None:
    """Writes `result.json` into a folder; `mode` are its permissions. Default: the umask's."""
    text = json.dumps(finite(dict(result)), indent=1, ensure_ascii=False, allow_nan=False)
    _write(Path(folder) / RESULT, f"{text}\n", mode)


def _write(path: Path, text: str, mode: int | None) -> None:
    """Writes a file, which appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 if mode is None else mode & 0o666)
        with open(number, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(number)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
