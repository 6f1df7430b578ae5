"""The jobs of a sweep, as their folders tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from runner.metrics.run_files import read_result
from runner.report import folder_files as files
from runner.report.goal import CONFIG, Goal
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry

MOST_JOBS = 10_000
"""The most jobs that are looked at."""
NOT_BEGUN = "not begun"
"""The status of a job that the sweep was stopped before."""


@dataclass(frozen=True)
class Costs:
    """What the snapshots of a job cost.

    Attributes:
        state, stored: bytes of the newest one, before and after compression; None if not known.
        pause, seconds: medians of how long the run stood still, and until the snapshot was durable; None if not known.
    """

    state: int | None
    stored: int | None
    pause: float | None
    seconds: float | None


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        name: of its folder: the number, unless the user has chosen another.
        folder: its folder.
        typed: its overrides, by key.
        status: `finished`, `stopped`, `failed`, `not begun`, or `no snapshot` where nothing says more.
        objective: the number that the sweep is about; None if the job has none.
        measure: what that measures; None if it is not known.
        best_epoch, epochs: numbers of epochs; None if not known.
        seconds: how long its last process has run; None if not known.
        error: what it has failed with.
        snapshot: its best snapshot, or else its newest one.
        costs: of its snapshots.
    """

    name: str
    folder: Path
    typed: Mapping[str, str]
    status: str
    objective: float | None
    measure: str | None
    best_epoch: int | None
    epochs: int | None
    seconds: float | None
    error: str | None
    snapshot: str | None
    costs: Costs


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep, and in what they differ.

    Attributes:
        folder: the sweep's.
        jobs: in their order.
        goal: what makes one of them better than another.
    """

    folder: Path
    jobs: Sequence[Job]
    goal: Goal

    @property
    def varied(self) -> list[str]:
        """The keys whose values differ."""
        keys = dict.fromkeys(key for job in self.jobs for key in job.typed)
        return [key for key in keys if len({job.typed.get(key) for job in self.jobs}) > 1]

    @property
    def fixed(self) -> dict[str, str]:
        """The overrides that all jobs have in common."""
        varied = set(self.varied)
        return {key: value for job in self.jobs[:1] for key, value in job.typed.items() if key not in varied}

    @property
    def measures(self) -> list[str]:
        """What the objectives of the jobs measure, where that is known."""
        return list(dict.fromkeys(job.measure for job in self.jobs if job.objective is not None and job.measure))

    @property
    def ranked(self) -> list[Job]:
        """The jobs by their objectives, the best one first, within each measure; those without one last."""
        order = {measure: number for number, measure in enumerate(self.measures)}

        def place(job: Job) -> tuple[bool, int, float]:
            return job.objective is None, order.get(str(job.measure), 0), self.goal.rank(job.objective)

        return sorted(self.jobs, key=place)

    @property
    def best(self) -> Job | None:
        """The first of the jobs whose objective is the best; None where objectives measure different things."""
        if len(self.measures) > 1:
            return None
        return next((job for job in self.ranked if job.objective is not None), None)


def is_sweep(folder: Path) -> bool:
    """Whether the folder is that of a sweep: it says so, or it holds the folders of jobs."""
    return (folder / CONFIG).is_file() or (not (folder / ".hydra").is_dir() and bool(folders_of_jobs(folder)))


def read_sweep(folder: Path) -> Sweep:
    """Returns what the folder of a sweep tells of its jobs."""
    goal = Goal.of(folder)
    return Sweep(folder, [_job(path, goal) for path in folders_of_jobs(folder)], goal)


def folders_of_jobs(folder: Path) -> list[Path]:
    """Returns the folders of a sweep's jobs, by their numbers."""
    found = [path for path in folder.iterdir() if path.is_dir() and (path / ".hydra").is_dir()]
    return sorted(found, key=lambda path: (int(path.name) if path.name.isdecimal() else math.inf, path.name))[:MOST_JOBS]


def _job(folder: Path, goal: Goal) -> Job:
    result, entries = read_result(folder) or {}, files.snapshots(FileStore(folder))
    header = entries[-1].header if entries else None
    metrics = header.metrics if header else {}
    objective = goal.value(result)
    if objective is None and goal == Goal() and header:  # a run that was killed has left no result
        objective = header.best
    error, best = result.get("error"), result.get("best_epoch", metrics.get("best_epoch"))
    status, epochs = result.get("status"), result.get("epochs")
    if not status or (status == NOT_BEGUN and header):  # it may have begun before the sweep went on
        status = "no snapshot" if header is None else "finished" if header.complete else "stopped"
    named = result.get("best_snapshot") or result.get("last_snapshot")
    return Job(
        name=folder.name,
        folder=folder,
        typed=_by_key(text for text in files.typed_overrides(folder) if not text.startswith("sweep.")),
        status=str(status),
        objective=objective,
        measure=str(measure) if goal == Goal() and (measure := result.get("measure")) else None,
        best_epoch=best if type(best) is int else None,
        epochs=header.epoch if header else epochs if type(epochs) is int else None,
        seconds=files.number(result.get("seconds")),
        error=str(error) if error else None,
        snapshot=str(named) if named else entries[-1].location if entries else None,
        costs=_costs(entries, result.get("snapshot_cost")),
    )


def _by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Returns the values of overrides by their keys: of mappings that were merged, all."""
    values: dict[str, str] = {}
    for key, _, value in (text.partition("=") for text in overrides):
        values[key] = f"{values[key]} {value}" if key in values and value.startswith("{") else value
    return values


def _costs(entries: Sequence[Entry], last: Any) -> Costs:
    """Returns the costs of a job's snapshots: the headers have all but that of the last one, which the result has."""
    known = [*(entry.header.previous for entry in entries), last]
    figures = [cost for cost in known if isinstance(cost, dict)]

    def values(name: str) -> list[float]:
        return [value for cost in figures if (value := files.number(cost.get(name))) is not None]

    newest = entries[-1].stored if entries else None
    stored = newest if newest is not None else next(map(int, values("stored")[-1:]), None)
    pauses, seconds = values("pause"), values("seconds")
    return Costs(
        state=next(map(int, values("state")[-1:]), None),
        stored=stored,
        pause=median(pauses) if pauses else None,
        seconds=median(seconds) if seconds else None,
    )
