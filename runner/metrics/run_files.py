"""What a run has left in its folder for programs: `metrics.jsonl`, a row a line, and `result.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.metrics.plain import for_json
from runner.metrics.records import Row, Rows

METRICS = "metrics.jsonl"
RESULT = "result.json"


def line(row: Row) -> str:
    """Returns a row as a line of JSON."""
    return json.dumps(for_json(row), allow_nan=False) + "\n"


def read_metrics(folder: str | Path) -> Rows:
    """Returns the rows in a run's folder, or in a file; none if there is no file.

    A run that was killed may have left a last line that is not whole, which is passed over as any line that is no row.
    """
    path = Path(folder)
    path = path / METRICS if path.is_dir() else path
    rows = Rows()
    if not path.is_file():
        return rows
    for text in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def read_result(folder: str | Path) -> dict[str, Any] | None:
    """Returns what `result.json` in a run's folder says; None if the run has not ended, or was killed."""
    try:
        result = json.loads((Path(folder) / RESULT).read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) else None
