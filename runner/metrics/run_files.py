"""What a run has left in its folder for programs: `metrics.jsonl`, a row a line, and `result.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.metrics.plain import for_json
from runner.metrics.records import Row, Rows

METRICS = "metrics.jsonl"
RESULT = "result.json"
MOST_BYTES = 1 << 30
"""Of a file that is read: what is larger was not written by a run."""


def line(row: Row) -> str:
    """Returns a row as a line of JSON."""
    return json.dumps(for_json(row), allow_nan=False) + "\n"


def read_metrics(folder: str | Path) -> Rows:
    """Returns the rows in a run's folder, or in a file; none if the folder has no such file.

    A run that was killed may have left a last line that is not whole, which is passed over as any line that is no row.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    path = _there(folder)
    path = path / METRICS if path.is_dir() else path
    rows = Rows()
    for text in (_content(path) or b"").split(b"\n"):
        if (row := _object(text)) is not None:
            rows.append(row)
    return rows


def read_result(folder: str | Path) -> dict[str, Any] | None:
    """Returns what `result.json` in a run's folder says; None if the run has not ended, or was killed.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    return _object(_content(_there(folder) / RESULT) or b"")


def _there(folder: str | Path) -> Path:
    if not (path := Path(folder)).exists():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}, so there is no run in it")
    return path


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= MOST_BYTES else None
    except OSError:
        return None


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
