"""What the report of a sweep says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.report import folder_files as files
from runner.snapshots.stores.file import FileStore

MOST_JOBS = 2000
"""The most jobs that are listed."""


def is_sweep(folder: Path) -> bool:
    """Whether the folder is that of a sweep: it says so, or it holds the numbered folders of jobs."""
    return (folder / "multirun.yaml").is_file() or (not (folder / ".hydra").is_dir() and bool(_jobs(folder)))


def _jobs(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.is_dir() and (path / ".hydra").is_dir()]
    return sorted(found, key=lambda path: (int(path.name) if path.name.isdecimal() else math.inf, path.name))[:MOST_JOBS]


def sweep_report(folder: Path) -> dict[str, Any]:
    """Returns what the page shows of a sweep.

    Raises:
        ConfigError: the folder has no jobs.
    """
    jobs = [_job(path) for path in _jobs(folder)]
    if not jobs:
        raise ConfigError(f"{str(folder)!r} has no folders of jobs")
    keys = list(dict.fromkeys(key for job in jobs for key in job["typed"]))
    varied = [key for key in keys if len({job["typed"].get(key) for job in jobs}) > 1]
    fixed = {key: jobs[0]["typed"][key] for key in keys if key not in varied}
    done = [job for job in jobs if job["objective"] is not None]
    best = min(done, key=lambda job: job["objective"]) if done else None
    return {
        "name": folder.name,
        "folder": str(folder),
        "conf": next((conf for path in _jobs(folder) if (conf := files.conf_of(path))), None),
        "varied": varied,
        "fixed": fixed,
        "jobs": jobs,
        "best": best,
        "plotted": {
            "parallel": {
                "axes": [*varied, "objective"],
                "lines": [[*(job["typed"].get(key) for key in varied), job["objective"]] for job in done],
                "names": [job["name"] for job in done],
            }
        },
    }


def _job(folder: Path) -> dict[str, Any]:
    result, entries = files.read_result(folder), files.snapshots(FileStore(folder))
    header = entries[-1].header if entries else None
    metrics = header.metrics if header else {}
    objective = files.number(result.get("objective"))
    if objective is None:
        objective = files.number(metrics.get("best"))
    status = result.get("status") or ("finished" if header and header.complete else "stopped" if header else "no snapshot")
    seconds = files.number(result.get("seconds"))
    best_epoch = result.get("best_epoch", metrics.get("best_epoch"))
    return {
        "name": folder.name,
        "typed": dict(text.partition("=")[::2] for text in files.typed_overrides(folder)),
        "objective": objective,
        "shown": "" if objective is None else f"{objective:.4g}",
        "best_epoch": str(best_epoch) if isinstance(best_epoch, int) else "",
        "epochs": str(header.epoch) if header else "",
        "status": str(status),
        "seconds": seconds,
        "report": (folder / "report.html").is_file() and folder.name.isdecimal(),
    }
