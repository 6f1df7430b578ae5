"""How a run has ended, for programs."""

from __future__ import annotations

import math
from typing import Any

from runner import passwords
from runner.errors import RunnerError, with_notes
from runner.graph import Workflow
from runner.metrics import records_of
from runner.snapshots.snapshotter import Snapshotter, snapshotters


def result_of(
    workflow: Workflow, *, exit_code: int, seconds: float, error: BaseException | None = None, **known: Any
) -> dict[str, Any]:
    """Returns what `result.json` says.

    Args:
        workflow: what has run.
        exit_code: of the process.
        seconds: how long this process has run it.
        error: what has ended it, if anything.
        known: what else is to be in it.
    """
    written = snapshotters(workflow)
    status = "failed" if error is not None else "finished" if workflow.complete else "stopped"
    best = _best_epoch(workflow)
    return {
        "status": status,
        "exit_code": exit_code,
        "objective": workflow.objective,
        "best_epoch": best,
        "best": {
            str(row["split"]): {name: value for name, value in row.items() if name not in ("epoch", "minibatch", "split")}
            for records in records_of(workflow)
            for row in records.epochs
            if row.get("epoch") == best
        },
        "best_snapshot": passwords.redact(_best_snapshot(written) or "") or None,
        "last_snapshot": next((passwords.redact(unit.last_location) for unit in written if unit.last_location), None),
        "seconds": round(seconds, 3),
        "error": None if error is None else passwords.redact(_text(error)),
        **known,
    }


def _text(error: BaseException) -> str:
    return with_notes(error, str(error)) if isinstance(error, RunnerError) else f"{type(error).__name__}: {error}"


def _best_epoch(workflow: Workflow) -> int | None:
    epoch = getattr(getattr(workflow, "decision", None), "best_epoch", None)
    return epoch if isinstance(epoch, int) and epoch else None


def _best_snapshot(written: list[Snapshotter]) -> str | None:
    """Returns the snapshot of the run with the lowest score, of those that are still there."""
    found: list[tuple[float, int, str]] = []
    for unit in written:
        if unit.last_location is None:
            continue
        try:
            entries = list(unit.store.list(runs=set(unit.runs)))
        except (RunnerError, OSError):
            continue
        for entry in entries:
            score = entry.header.score
            if score is not None and math.isfinite(score) and not entry.header.autosave:
                found.append((score, entry.header.epoch, entry.location))
    return min(found)[2] if found else None
