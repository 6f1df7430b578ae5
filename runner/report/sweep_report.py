"""What the report of a sweep says."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.report import folder_files as files
from runner.report import sweep_picture
from runner.report.sweep_jobs import Job, read_sweep

MOST_JOBS = 2000
"""The most jobs that are listed."""
PNG, MOST_BYTES = b"\x89PNG\r\n", 10 << 20
"""How a picture begins, and how large one is at most."""


def sweep_report(folder: Path) -> dict[str, Any]:
    """Returns what the page shows of a sweep.

    Raises:
        ConfigError: the folder has no jobs.
    """
    sweep = read_sweep(folder)
    if not sweep.jobs:
        raise ConfigError(f"{str(folder)!r} has no folders of jobs")
    varied, listed, best = sweep.varied, sweep.jobs[:MOST_JOBS], sweep.best
    done = [job for job in listed if job.objective is not None]
    return {
        "name": folder.name,
        "folder": str(folder),
        "conf": next((conf for job in listed if (conf := files.conf_of(job.folder))), None),
        "varied": varied,
        "fixed": sweep.fixed,
        "jobs": list(map(_row, listed)),
        "best": _row(best) if best else None,
        "goal": sweep.goal.name,
        "picture": _picture(folder),
        "plotted": {
            "parallel": {
                "axes": [*varied, sweep.goal.name],
                "lines": [[*(job.typed.get(key) for key in varied), job.objective] for job in done],
                "names": [job.name for job in done],
                "best": best.name if best else None,
            }
        },
    }


def _picture(folder: Path) -> str:
    """Returns the picture of the sweep as an address of its data; nothing if there is none."""
    try:
        content = sweep_picture.path_of(folder).read_bytes()
    except OSError:
        return ""
    is_picture = content.startswith(PNG) and len(content) <= MOST_BYTES
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if is_picture else ""


def _row(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "typed": job.typed,
        "shown": "" if job.objective is None else f"{job.objective:.4g}",
        "best_epoch": "" if job.best_epoch is None else str(job.best_epoch),
        "epochs": "" if job.epochs is None else str(job.epochs),
        "status": job.status,
        "seconds": job.seconds,
        "report": (job.folder / "report.html").is_file() and job.name.isdecimal(),
    }
