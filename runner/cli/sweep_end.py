"""What a sweep has come to: a table, files for programs, and the report. It is told however the sweep has ended."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from runner import passwords, shell, signals
from runner.cli.console import is_quiet
from runner.cli.overrides import FOLDER, as_override
from runner.cli.shelf.printing import Column, say, table
from runner.cli.sweep_stop import Passing, in_other_processes, passed_on
from runner.errors import ConfigError, RunnerError
from runner.plots.canvas import can_draw
from runner.report import sweep_files, sweep_picture, write_report
from runner.report.goal import Goal
from runner.report.sweep_jobs import NOT_BEGUN, Job, Sweep, read_sweep
from runner.snapshots.announcements import megabytes
from runner.snapshots.stores.location import SCHEME
from runner.text import shown

log = logging.getLogger(__name__)

MEASURED = "snapshotter."
"""The section of which a sweep compares what snapshots cost."""
MOST_RESTORED = 200 << 20
"""Bytes of a snapshot that is restored to see how long that takes."""
_PLACED = (f"{FOLDER}=", "hydra.sweep.dir=")
"""What the command that goes on says by `sweep=FOLDER`."""
REPEATED = 3
"""How many times it is restored; the shortest time counts."""


@dataclass(frozen=True)
class Begun:
    """A sweep of this process.

    Attributes:
        folder: its folder.
        report: whether a report is wanted.
        picture: whether a picture is.
        command: what is typed to go on with it, if it is stopped.
        passing: passes signals on to jobs in other processes; None if they run in this one.
        planned: how many jobs it has in all; None if the sweeper does not say.
    """

    folder: Path
    report: bool
    picture: bool
    command: str
    passing: Passing | None
    planned: int | None = None


_begun: list[Begun] = []
_passing = ExitStack()


def begin(config: DictConfig) -> None:
    """Notes that a sweep begins. Jobs in other processes are told of signals from now on.

    Args:
        config: what Hydra tells its callbacks.
    """
    folder = Path(config.hydra.sweep.dir)
    typed = [text for text in (argument.lstrip("+") for argument in sys.argv[1:]) if not text.startswith(_PLACED)]
    command = shell.join(["veles-run", *typed, as_override("sweep", str(folder))])
    passing = _passing.enter_context(passed_on(folder)) if in_other_processes(config.hydra) else None
    report, picture = (config.get(key) is not False for key in ("report", "plotters"))
    _begun.append(Begun(folder, report, picture and can_draw(), command, passing))


def plan(count: int) -> None:
    """Notes how many jobs the sweep under way has in all."""
    _begun[-1] = replace(_begun[-1], planned=count)


def forget() -> None:
    """Notes that the sweep does not begin after all, so that there is nothing to tell."""
    _begun.clear()
    _passing.close()


def is_elsewhere() -> bool:
    """Whether a sweep is under way whose jobs run in other processes."""
    return bool(_begun) and _begun[-1].passing is not None


def tell() -> None:
    """Tells what the sweep of this process has come to, if there was one. It raises no error of its own.

    Raises:
        SystemExit: a signal has stopped jobs in other processes.
    """
    if not _begun:
        return
    begun = _begun.pop()
    _passing.close()
    try:
        _tell(begun)
    except Exception as error:
        log.warning("What the sweep has come to is not told (%s: %s)", type(error).__name__, shown(error))
    if begun.passing is not None and begun.passing.number is not None:
        raise SystemExit(signals.exit_code(begun.passing.number))


def _tell(begun: Begun) -> None:
    if not begun.folder.is_dir():
        return
    sweep = read_sweep(begun.folder)
    if not sweep.jobs:
        return
    restoring = _restoring(sweep) if _is_measured(sweep) else {}
    if not is_quiet():
        table(sweep.ranked, _columns(sweep, restoring))
        if (best := sweep.best) is not None:
            say(_best(sweep, best))
        elif len(sweep.measures) > 1:
            log.warning(
                "None of the jobs is the best, since they are measured by different things: %s",
                shown(", ".join(sweep.measures)),
            )
        elif any(job.status == "finished" for job in sweep.jobs) and sweep.goal != Goal():
            log.warning(
                "No job has %s in its result.json, so none is the best (hydra.sweeper.objectives)", shown(sweep.goal.name)
            )
        waiting = _waiting(sweep, begun.planned)
        if waiting:
            say(f"{waiting} {'job has' if waiting == 1 else 'jobs have'} not begun")
        if waiting or any(job.status == "stopped" for job in sweep.jobs):
            say(f"Continue the sweep: {begun.command}")
    try:
        sweep_files.write_files(sweep, restoring)
    except OSError as error:
        log.warning("%s cannot be written: %s", sweep_files.CSV, error.strerror or error)
    drawn = sweep_picture.draw(sweep, restoring) if begun.picture and _is_measured(sweep) else None
    if drawn is not None and not is_quiet():
        say(f"Picture: {drawn}")
    if begun.report:
        _report(begun.folder)


def _waiting(sweep: Sweep, planned: int | None) -> int:
    """Returns how many jobs have not begun."""
    idle = sum(job.status == NOT_BEGUN for job in sweep.jobs)
    return idle if planned is None else max(planned - len(sweep.jobs), 0) + idle


def _best(sweep: Sweep, best: Job) -> str:
    settings = " ".join(f"{key}={best.typed[key]}" for key in sweep.varied if key in best.typed)
    equal = sum(job.objective == best.objective for job in sweep.jobs)
    if equal > 1:
        what = sweep.goal.title.removeprefix("best ")
        return f"Best: {equal} jobs have the same {what}; the first of them is job {best.name}  {best.snapshot or ''}".rstrip()
    return f"Best: job {best.name}{f' ({settings})' if settings else ''}  {best.snapshot or ''}".rstrip()


def _report(folder: Path) -> None:
    try:
        path = write_report(folder)
    except ConfigError as error:
        log.warning("There is no report of the sweep: %s", error)
    else:
        log.info("Report: %s", shown(path))


def _is_measured(sweep: Sweep) -> bool:
    return any(key.startswith(MEASURED) for key in sweep.varied)


def _restoring(sweep: Sweep) -> dict[str, float]:
    """Returns the seconds that it takes to restore the newest snapshot of each job, if that is near and not large."""
    from runner.snapshots.restoring.restore import restore

    found = {}
    for job in sweep.jobs:
        place = job.snapshot
        if place is None or not _is_at_hand(place) or (job.costs.state or 0) > MOST_RESTORED:
            continue
        with suppress(RunnerError, OSError, MemoryError):  # it needs modules that only its own configuration declares
            found[job.name] = min(_seconds(partial(restore, place)) for _ in range(REPEATED))
    return found


def _is_at_hand(place: str) -> bool:
    """Whether a snapshot is a file, or is in a database that asks for no password."""
    return Path(place).is_file() or (place.startswith(SCHEME) and passwords.MASK not in place)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _columns(sweep: Sweep, restoring: dict[str, float]) -> list[Column]:
    """Returns the columns of the table, the job and what differs first."""
    columns = [Column("job", lambda job: job.name, right=True)]
    for key, title in zip(sweep.varied, _titles(sweep.varied), strict=True):
        columns.append(Column(title, partial(_typed, key)))
    columns += [
        Column(sweep.goal.title, lambda job: _text(job.objective, "{:.4g}"), right=True),
        Column("epoch", lambda job: _text(job.best_epoch, "{}"), right=True, importance=4),
        Column("epochs", lambda job: _text(job.epochs, "{}"), right=True, importance=3),
        Column("time", lambda job: _duration(job.seconds), right=True, importance=5),
    ]
    if _is_measured(sweep):
        columns += [
            Column("size", _size, right=True, importance=8),
            Column("ratio", _ratio, right=True, importance=8),
            Column("pause", lambda job: _duration(job.costs.pause), right=True, importance=7),
            Column("written in", lambda job: _duration(job.costs.seconds), right=True, importance=7),
            Column("restored in", lambda job: _duration(restoring.get(job.name)), right=True, importance=6),
        ]
    columns.append(Column("status", lambda job: job.status))
    return columns


def _typed(key: str, job: Job) -> str:
    return job.typed.get(key, "")


def _titles(keys: Sequence[str]) -> list[str]:
    """Returns the last parts of keys, where they differ; else the keys."""
    short = [key.rpartition(".")[2] for key in keys]
    return short if len(set(short)) == len(short) else list(keys)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _size(job: Job) -> str:
    return "" if job.costs.stored is None else megabytes(job.costs.stored)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _ratio(job: Job) -> str:
    stored, state = job.costs.stored, job.costs.state
    return "" if stored is None or not state else f"{100 * stored / state:.1f} %"
