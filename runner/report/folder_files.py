"""What the files in a run's folder say: configuration, result, metrics, and the headers of its snapshots."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from runner.flat import flattened
from runner.snapshots.shelf.lineage import processes
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry, ignore

MOST_BYTES = 64 << 20
"""Of a file that is read: what is larger was not written by a run."""
MOST_SNAPSHOTS = 1000
"""The newest ones are listed."""


def read_yaml(path: Path) -> Any:
    """Returns what a YAML file holds; None if there is none that can be read."""
    text = _text(path)
    try:
        return None if text is None else yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return None


def read_result(folder: Path) -> dict[str, Any]:
    """Returns what `result.json` says; nothing if there is none that can be read."""
    text = _text(folder / "result.json")
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of `metrics.jsonl`; a last line that was cut short is left out."""
    rows = []
    for line in (_text(folder / "metrics.jsonl") or "").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def typed_overrides(folder: Path) -> list[str]:
    """Returns the overrides that were typed."""
    found = read_yaml(folder / ".hydra" / "overrides.yaml")
    return [text.lstrip("+") for text in found if isinstance(text, str)] if isinstance(found, list) else []


def conf_of(folder: Path) -> str | None:
    """Returns the name of the conf file."""
    found = read_yaml(folder / ".hydra" / "hydra.yaml")
    try:
        return str(found["hydra"]["runtime"]["choices"]["conf"])
    except (TypeError, KeyError):
        return None


def snapshots(folder: Path) -> list[Entry]:
    """Returns the snapshots in a folder, the oldest first; unreadable ones are left out."""
    return list(islice(FileStore(folder).list(ignore), MOST_SNAPSHOTS))[::-1]


def runs(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Returns the processes that have written snapshots, the first one first."""
    return [
        {
            "run": process.first.header.run_id[:8],
            "first": process.first.header.time[:19],
            "last": process.last.header.time[:19],
            "count": len(process.entries),
            "epochs": f"{process.first.header.epoch} to {process.last.header.epoch}",
            "typed": " ".join(process.last.header.overrides),
        }
        for process in processes(entries)
    ]


def texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns nested settings as texts by their keys."""
    return {key: _as_text(value) for key, value in flattened(settings).items()}


def _as_text(value: object) -> str:
    return "null" if value is None else json.dumps(value, default=str) if isinstance(value, list | bool) else str(value)


def number(value: object) -> float | None:
    """Returns a finite number; None for anything else."""
    with suppress(OverflowError):
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    return None


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
