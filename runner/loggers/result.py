"""How a run has ended, for programs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from runner import passwords
from runner.checks import first_line
from runner.errors import RunnerError, SnapshotNotFoundError, with_notes
from runner.graph import Workflow
from runner.metrics import Row, history_of
from runner.snapshots.shelf.wanted import best_of
from runner.snapshots.snapshotter import Snapshotter, last_written, snapshotters
from runner.snapshots.stores import store_of
from runner.snapshots.stores.store import Entry

log = logging.getLogger(__name__)


def result_of(
    workflow: Workflow,
    *,
    exit_code: Callable[[], int],
    seconds: float,
    error: BaseException | None = None,
    **known: Any,
) -> dict[str, Any]:
    """Returns what `result.json` says. What nobody can tell is None, with a warning: it neither hides the error nor is one.

    Args:
        workflow: what has run.
        exit_code: returns that of the process, where there is no error.
        seconds: how long this process has run it.
        error: what has ended it, if anything.
        known: what else is to be in it.
    """
    complete = error is None and _asked("status", lambda: workflow.complete)
    code = getattr(error, "exit_code", 1) if error is not None else _asked("exit_code", exit_code)
    return {
        "status": "failed" if error is not None else "finished" if complete else "stopped",
        "exit_code": 1 if code is None else code,
        "objective": _asked("objective", lambda: workflow.objective),
        "measure": _asked("measure", lambda: workflow.measure),
        "epochs": _asked("epochs", lambda: workflow.progress().get("epoch")),
        "best_epoch": _asked("best_epoch", lambda: _best_epoch(workflow)),
        "best": _asked("best", lambda: _best(workflow)),
        "best_snapshot": _asked("best_snapshot", lambda: _best_snapshot(snapshotters(workflow))),
        "last_snapshot": _asked("last_snapshot", lambda: _last_snapshot(last_written(workflow))),
        "snapshot_cost": _asked("snapshot_cost", lambda: _snapshot_cost(last_written(workflow))),
        "seconds": round(seconds, 3),
        "error": None if error is None else _asked("error", lambda: passwords.redact(_text(error))),
        **known,
    }


def _asked(name: str, ask: Callable[[], Any]) -> Any:
    """Returns what somebody is asked, who may be a class of the user's own or a store that is away."""
    try:
        return ask()
    except (Exception, SystemExit) as error:
        what = passwords.redact(f"{type(error).__name__}: {first_line(error)}")
        log.warning("The result of the run lacks %s (%s)", name, what)
        return None


def _best(workflow: Workflow) -> dict[str, Row]:
    best = _best_epoch(workflow)
    return {
        str(row["split"]): {name: value for name, value in row.items() if name not in ("epoch", "minibatch", "split")}
        for row in history_of(workflow)
        if row.get("epoch") == best
    }


def _last_snapshot(written: Snapshotter | None) -> str | None:
    return passwords.redact(written.last_location) if written is not None and written.last_location else None


def _snapshot_cost(written: Snapshotter | None) -> dict[str, Any] | None:
    """Returns what the last snapshot of this process has cost, as the headers record it of all others."""
    last = None if written is None else written.exporter_.written
    return None if last is None else last.figures()


def _text(error: BaseException) -> str:
    return with_notes(error, str(error)) if isinstance(error, RunnerError) else f"{type(error).__name__}: {error}"


def _best_epoch(workflow: Workflow) -> int | None:
    epoch = getattr(getattr(workflow, "decision", None), "best_epoch", None)
    return epoch if isinstance(epoch, int) and epoch else None


def _best_snapshot(written: list[Snapshotter]) -> str | None:
    """Returns the best snapshot of the run, of those that are still there, or where it went on from."""
    units = [unit for unit in written if unit.last_location is not None]
    entries = [entry for unit in units for entry in (*unit.store.list(runs=set(unit.runs)), *_before(unit))]
    newest_first = sorted(entries, key=lambda entry: entry.newest_last, reverse=True)
    best = best_of(entry for entry in newest_first if not entry.header.autosave)
    return passwords.redact(best.location) if best else None


def _before(unit: Snapshotter) -> list[Entry]:
    """Returns the snapshots of the run that this process went on from, up to that one."""
    if unit.origin_ is None or unit.workflow is None:
        return []
    try:
        store, location = store_of(unit.origin_)
    except SnapshotNotFoundError:  # a newer one has taken its place
        return []
    there = list(store.list(workflow=unit.workflow.name))
    origin = next((entry.header for entry in there if entry.location == location), None)
    return [entry for entry in there if origin and entry.header.log_id == origin.log_id and entry.header.epoch <= origin.epoch]
