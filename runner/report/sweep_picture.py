"""`sweep.png`: what snapshots cost in the jobs of a sweep over them, as a picture of sizes and times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.plots.canvas import Canvas
from runner.plots.pictures import Points
from runner.report.sweep_jobs import Sweep

NAME = "sweep"
MEGABYTE = 1e6
FEWEST = 2
"""Jobs with snapshots, which are compared."""
PAUSE, WRITTEN, RESTORED = "pause of the run", "until it is durable", "restore"


def path_of(folder: Path) -> Path:
    """Returns where the picture of a sweep is."""
    return folder / f"{NAME}.png"


def draw(sweep: Sweep, restore_seconds: Mapping[str, float]) -> Path | None:
    """Draws the picture into the sweep's folder; returns its path, or None if there is nothing to compare or it went wrong.

    Args:
        sweep: the sweep.
        restore_seconds: how long it takes to restore the newest snapshot of a job, by the job's name, where that was measured.
    """
    path, picture = path_of(sweep.folder), _picture(sweep, restore_seconds)
    path.unlink(missing_ok=True)  # it would be of an earlier state of the sweep
    if picture is None:
        return None
    canvas = Canvas(sweep.folder)
    canvas.draw(NAME, picture)
    canvas.finish()
    return path if path.exists() else None


def _picture(sweep: Sweep, restore_seconds: Mapping[str, float]) -> Points | None:
    jobs = [job for job in sweep.jobs if job.costs.stored is not None]
    if len(jobs) < FEWEST:
        return None
    times = {
        PAUSE: [job.costs.pause for job in jobs],
        WRITTEN: [job.costs.seconds for job in jobs],
        RESTORED: [restore_seconds.get(job.name) for job in jobs],
    }
    return Points(
        title="Snapshots",
        x="size, MB",
        y="ms",
        names=[", ".join(job.typed[key] for key in sweep.varied if key in job.typed) for job in jobs],
        positions=[(job.costs.stored or 0) / MEGABYTE for job in jobs],
        panels={name: [_milliseconds(value) for value in values] for name, values in times.items() if any(values)},
    )


def _milliseconds(seconds: float | None) -> float:
    return float("nan") if seconds is None else 1000 * seconds
