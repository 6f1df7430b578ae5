"""The jobs of a sweep: one that fails does not keep the others from running, and each failure is told."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from runner import places
from runner.cli import parallel, sweep_stop
from runner.cli.console import OF_SWEEP, show_sweep_alone
from runner.cli.outcome import Outcome, failure
from runner.cli.overrides import overrides_of
from runner.cli.sweeping.record import Record
from runner.errors import ProcessLostError, RunError, RunInUseError, RunnerError, with_notes
from runner.loggers.metrics_file import MetricsFile
from runner.metrics.run_files import RESULT, read_result
from runner.parallel.processes import Processes
from runner.passwords import redact
from runner.report.folder_files import number
from runner.report.sweep_jobs import NOT_BEGUN
from runner.snapshots.stores.lock import locked

log = logging.getLogger(__name__)

LONGEST_STOP = 60.0
"""Seconds that a job has to stop, before another process with the same one gives up."""

failures: list[str] = []
"""What is told of jobs that failed, with the job's number and overrides."""


def job_of_a_sweep(run: Callable[[], Outcome]) -> float | None:
    """Runs a job; returns its best error, for the sweeper.

    Raises:
        RunnerError: it has failed, which is in its log, too.
        SystemExit: a signal has stopped it, and so ends the sweep; in another process, the sweep is told otherwise.
    """
    config = HydraConfig.get()
    processes = parallel.join(os.environ)
    try:
        with _alone(Path(config.runtime.output_dir)) if processes.leads else nullcontext():
            best = _job_of_a_sweep(config, run, processes)
            processes.part()
    except RunnerError as error:
        processes.fail(str(error), error.exit_code)  # where one process has failed, the others wait for it
        raise
    return best


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for a process that is about to stop with the same job, as those do whose sweep was killed.

    Raises:
        RunInUseError: it has not stopped.
    """
    given_up = time.monotonic() + LONGEST_STOP
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder / sweep_stop.LOCK, str(folder)))
                break
            except RunInUseError:
                if time.monotonic() > given_up:
                    raise
                time.sleep(sweep_stop.INTERVAL)
        yield


def _job_of_a_sweep(config: Any, run: Callable[[], Outcome], processes: Processes) -> float | None:
    result, sweep = Path(config.runtime.output_dir, RESULT), Path(config.sweep.dir)
    finish = MetricsFile(result.parent).finish if processes.leads else _forget
    if processes.leads:
        result.unlink(missing_ok=True)  # it would be of an earlier run
    elsewhere = sweep_stop.in_other_processes(config)
    if elsewhere:
        show_sweep_alone()
    if elsewhere and processes.share("stop", lambda: str(sweep_stop.stop_of(sweep))) != str(None):
        finish({"status": NOT_BEGUN})
        return None
    name = result.parent.name
    log.info("Job %s: %s", name, " ".join(_varied(sweep, overrides_of(config))), extra=OF_SWEEP)
    try:
        with sweep_stop.stopped_with_the_sweep(sweep) if elsewhere else nullcontext():
            outcome = run()
        log.info("Job %s: %s", name, _ended(read_result(result.parent) or {}), extra=OF_SWEEP)
        if outcome.exit_code == RunError.exit_code:
            raise RunError(outcome.fault)
        if not result.exists():  # nothing was trained
            finish({"status": "finished"})
    except BaseException as error:
        if not isinstance(error, Exception) and not places.is_users(error):
            raise
        told = failure(error)
        log.error("%s", with_notes(told))
        note_failure(name, overrides_of(config), told)
        if isinstance(told, ProcessLostError) and processes.leads:
            result.unlink(missing_ok=True)  # it was cut short, as a job of one process is that is killed, and can go on
        elif not result.exists():  # it has failed before its run began
            finish({"status": "failed", "exit_code": told.exit_code, "error": redact(str(told))})
        raise told from error
    if outcome.exit_code and not elsewhere:
        raise SystemExit(outcome.exit_code)
    return outcome.error


def _forget(result: Mapping[str, Any]) -> None:
    """Leaves the result of a job to the first of its processes."""


def note_failure(name: str, overrides: Sequence[str], error: Exception) -> None:
    """Notes that a job has failed.

    Args:
        name: of its folder.
        overrides: what is typed for it.
        error: what it has failed with.
    """
    typed = " ".join(text.lstrip("+") for text in overrides)
    failures.append(f"job {name} ({typed}): {with_notes(error)}")


def _varied(sweep: Path, overrides: Sequence[str]) -> list[str]:
    """Returns what is typed for a job and not for all, as far as the sweep says."""
    typed = [text.lstrip("+") for text in overrides if not text.startswith("sweep.")]
    record = Record.read(sweep)
    fixed = [key for key, texts in record.typed.items() if len(texts) == 1 and not record.is_range(key)] if record else ()
    return [text for text in typed if text.partition("=")[0] not in fixed] or typed


def _ended(result: Mapping[str, Any]) -> str:
    """Says how a job has ended, in a few words."""
    told, objective = [str(result.get("status", "done"))], number(result.get("objective"))
    if objective is not None:
        told.append(f"best error {objective:.4g}")
    if (seconds := number(result.get("seconds"))) is not None:
        told.append(f"{seconds:.1f} s")
    return ", ".join(told)
