"""What the files in a run's folder say: configuration, result, metrics, and the headers of its snapshots."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from runner.flat import flattened
from runner.metrics.run_files import read_metrics, read_result
from runner.snapshots.shelf.lineage import processes
from runner.snapshots.stores.store import Entry, Store, ignore

MOST_BYTES = 64 << 20
"""Of a file that is read: what is larger was not written by a run."""
MOST_SNAPSHOTS = 1000
"""The newest ones are listed."""
DEEPEST = 200
"""Mappings and lists in one another in a YAML file that is read."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads YAML ten times as fast as the one in Python; not every platform has it."""


@dataclass(frozen=True)
class Files:
    """What the files of a run's folder say, as far as there are any.

    Attributes:
        result: `result.json`.
        metrics: the rows of `metrics.jsonl`.
        config: the configuration.
        typed: the overrides that were typed.
        conf: the name of the conf file.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    config: Any = None
    typed: list[str] = field(default_factory=list)
    conf: str | None = None

    @classmethod
    def of(cls, folder: Path) -> Files:
        """Reads the files of a folder."""
        config = read_yaml(folder / ".hydra" / "config.yaml")
        return cls(read_result(folder) or {}, read_metrics(folder), config, typed_overrides(folder), conf_of(folder))


def read_yaml(path: Path) -> Any:
    """Returns what a YAML file holds; None if there is none that can be read."""
    text = _text(path)
    try:
        return None if text is None or _is_deep(text) else yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError):
        return None


def _is_deep(text: str) -> bool:
    """Whether a file is nested more deeply than a configuration, for which the parser in C has no limit but the stack."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return True
    return False


def typed_overrides(folder: Path) -> list[str]:
    """Returns the overrides that were typed."""
    found = read_yaml(folder / ".hydra" / "overrides.yaml")
    return [text.lstrip("+") for text in found if isinstance(text, str)] if isinstance(found, list) else []


def conf_of(folder: Path) -> str | None:
    """Returns the name of the conf file; None if there was none."""
    found = read_yaml(folder / ".hydra" / "hydra.yaml")
    try:
        conf = found["hydra"]["runtime"]["choices"]["conf"]
    except (TypeError, KeyError):
        return None
    return None if conf is None else str(conf)


def snapshots(store: Store, runs: Collection[str] | None = None) -> list[Entry]:
    """Returns the snapshots in a store, the oldest first, or those of some processes; unreadable ones are left out."""
    return list(islice(store.list(ignore, runs=runs), MOST_SNAPSHOTS))[::-1]


def of_run(store: Store, log_id: str, workflow: str) -> list[Entry]:
    """Returns the newest snapshots of a run, the oldest of them first; the name of its workflow spares the store the others."""
    found = (entry for entry in store.list(ignore, workflow=workflow) if entry.header.log_id == log_id)
    return list(islice(found, MOST_SNAPSHOTS))[::-1]


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
