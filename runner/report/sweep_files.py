"""`sweep.csv` and `sweep.json`: what a sweep has come to, for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from runner import passwords
from runner.report.sweep_jobs import Job, Sweep
from runner.whole_file import whole_file

CSV, JSON = "sweep.csv", "sweep.json"


def write_files(sweep: Sweep, restore_seconds: Mapping[str, float]) -> None:
    """Writes both files into the sweep's folder, each as a whole.

    Args:
        sweep: the sweep.
        restore_seconds: how long it takes to restore the newest snapshot of a job, by the job's name, where that was measured.

    Raises:
        OSError: they cannot be written.
    """
    rows = [_row(job, restore_seconds.get(job.name)) for job in sweep.ranked]
    best = sweep.best
    whole = {
        "best": best.name if best else None,
        "goal": {"name": sweep.goal.name, "direction": "maximize" if sweep.goal.maximized else "minimize"},
        "varied": sweep.varied,
        "jobs": [{"overrides": dict(job.typed), **row} for job, row in zip(sweep.ranked, rows, strict=True)],
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0]) if rows else []
    varied = [f"typed.{key}" if key in names else key for key in sweep.varied]  # such as `snapshot`, where that is swept
    writer.writerow([names[0], *varied, *names[1:]] if names else [])
    for job, row in zip(sweep.ranked, rows, strict=True):
        name, *values = row.values()
        writer.writerow([name, *(job.typed.get(key, "") for key in sweep.varied), *values])
    for name, content in ((CSV, text.getvalue()), (JSON, json.dumps(whole, indent=2) + "\n")):
        with whole_file(sweep.folder / name) as file:
            file.write_text(passwords.redact(content), encoding="utf-8", errors="backslashreplace")


def _row(job: Job, restore_seconds: float | None) -> dict[str, Any]:
    costs = job.costs
    return {
        "job": job.name,
        "status": job.status,
        "objective": job.objective,
        "measure": job.measure,
        "best_epoch": job.best_epoch,
        "epochs": job.epochs,
        "seconds": job.seconds,
        "snapshot": job.snapshot,
        "state_bytes": costs.state,
        "stored_bytes": costs.stored,
        "pause_seconds": costs.pause,
        "write_seconds": costs.seconds,
        "restore_seconds": restore_seconds,
        "error": job.error,
    }
