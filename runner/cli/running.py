"""Runs a workflow, and tells what came of it: the end of the run, its snapshots, its report, or what has failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from hydra.core.hydra_config import HydraConfig

from runner import passwords, signals
from runner.cli import closing, console, notices, overview, parallel, run_folder
from runner.cli.commands import Commands
from runner.cli.outcome import Outcome, failure
from runner.cli.request import Request, relative
from runner.config import Config
from runner.graph import Workflow
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.snapshotter import last_written, snapshotters
from runner.snapshots.stores import spool
from runner.snapshots.stores.store import Store

log = logging.getLogger(__name__)


def run(workflow: Workflow, launcher: Launcher, commands: Commands, config: Config, claim: Callable[[Store], None]) -> Outcome:
    """Runs a workflow to its end, or until it is stopped.

    Args:
        workflow: what to run.
        launcher: what runs it.
        commands: those by which it goes on.
        config: its configuration.
        claim: takes the run in a store, so that nobody else goes on with it.

    Raises:
        RunnerError: it has failed; the log says how to go on.
    """
    request, began = commands.request, time.monotonic()
    processes = launcher.processes
    processes.connect(launcher.device, config.parallel.timeout)
    with launcher.session(workflow) as run:
        for snapshotter in snapshotters(workflow) if processes.leads else ():
            claim(snapshotter.store)
        run_folder.keep(HydraConfig.get().runtime.output_dir)
        notices.tell()
        overview.tell(workflow, _where(workflow, launcher, request, config.seed))
        try:
            with (
                _logged(workflow, launcher, request, config.seed),
                _told_failures(workflow, commands),
                console.progress_of(workflow),
            ):
                run()
            complete = workflow.complete
            if workflow.summary is not None:
                log.info("%s", workflow.summary, extra=console.DETAIL)
            took = time.monotonic() - began
            places = {"snapshots": _place(workflow), "report": _reported(workflow, config.report, launcher, request)}
            _tell_snapshots(workflow, commands, complete)
            closing.show(workflow, took, places, partial(commands.shown, workflow, complete))
        finally:
            launcher.finish_pictures()  # while a signal can still end the process
            if not request.sweep:  # which has more jobs, and a signal is to stop them
                signals.settle()
    return Outcome(workflow.objective, _exit_code(workflow, launcher, request))


def _exit_code(workflow: Workflow, launcher: Launcher, request: Request) -> int:
    if any(snapshotter.failed_ for snapshotter in snapshotters(workflow)):
        return 1
    stop = launcher.stop_signal if request.sweep or not workflow.complete else None
    return 0 if stop is None else signals.exit_code(stop)


def _logged(workflow: Workflow, launcher: Launcher, request: Request, seed: int | None) -> AbstractContextManager[None]:
    """Has the loggers log what is run in the block; `result.json` says how it ended, and what was asked for."""
    overrides = list(map(passwords.redact, request.run_overrides))
    known = {"seed": seed, "overrides": overrides, "conf": request.conf, "run_id": launcher.run_id}
    return launcher.logged(workflow, lambda: _exit_code(workflow, launcher, request), **known)


def already_complete(restored: Restored, launcher: Launcher, request: Request, seed: int | None) -> Outcome:
    """Says how a complete run is extended; snapshots and rows that could not be delivered then are delivered now."""
    workflow, location, exit_code = restored.workflow, restored.location, 0
    for snapshotter in snapshotters(workflow) if launcher.processes.leads else ():
        location = spool.deliver(snapshotter.store).get(restored.header.uuid, location)
        exit_code = 1 if spool.waiting(snapshotter.store) else exit_code
    with _logged(workflow, launcher, request, seed):
        pass
    if workflow.limit is None:
        log.info("The run is complete")
    else:
        log.info("The run is complete: it has reached %s=%d", *workflow.limit)
        log.info("Extend it: %s", request.extension(location, workflow.extension, whole=True))
        if workflow.extension_note is not None:
            log.info("%s", workflow.extension_note)
    return Outcome(workflow.objective, exit_code)


def _where(workflow: Workflow, launcher: Launcher, request: Request, seed: int | None) -> dict[str, str]:
    device = launcher.device if launcher.threads is None else f"{launcher.device}, threads {launcher.threads}"
    where = {"seed": str(seed), "device": device}
    if workflow.limit is not None:
        where["until"] = (
            str(workflow.decision.ending) if isinstance(workflow, StandardWorkflow) else "{}={}".format(*workflow.limit)
        )
    where["folder"] = request.output_dir
    stores = [unit.store.place for unit in snapshotters(workflow)]
    return where | ({"snapshots": stores[-1]} if stores and relative(stores[-1]) != request.output_dir else {})


def _reported(workflow: Workflow, asked: bool | None, launcher: Launcher, request: Request) -> str | None:
    """Writes the report of the run, if it is wanted; returns where it is. The run does not depend on it."""
    if asked is False or (asked is None and request.sweep) or not launcher.processes.leads:
        return None
    try:
        from runner.report import write_report

        path = str(write_report(request.output_dir, workflow, hurried=launcher.stop_requested))
    except Exception as error:
        log.warning("There is no report (%s: %s)", type(error).__name__, error)
        return None
    log.info("Report: %s", path, extra=console.DETAIL)
    return path


def _place(workflow: Workflow) -> str | None:
    written = last_written(workflow)
    return None if written is None else str(written.store)


@contextmanager
def _told_failures(workflow: Workflow, commands: Commands) -> Iterator[None]:
    """Says from where a run that has failed can go on, whatever failed: the user's own code may even have called `sys.exit`."""
    try:
        yield
    except BaseException as error:
        told = failure(error)
        if any(snapshotter.last_location for snapshotter in snapshotters(workflow)):
            lost = min(snapshotter.lost for snapshotter in snapshotters(workflow))
            log.info("The newest snapshot lacks the last %.1f s of the run", lost)
        _tell_snapshots(workflow, commands, complete=False)
        closing.show_commands(partial(commands.shown, workflow, complete=False))
        raise told from error


def _tell_snapshots(workflow: Workflow, commands: Commands, complete: bool) -> None:
    place = _place(workflow)
    if place is None:
        if not complete and parallel.here().leads:
            log.warning("There is no snapshot to continue from")
        return
    log.info("Snapshots: %s", place, extra=console.DETAIL)
    if (command := commands.whole(workflow, complete)) is not None:
        log.info("%s: %s", *command, extra=console.DETAIL)
    if complete and workflow.limit is not None and workflow.extension_note is not None:
        log.info("%s", workflow.extension_note)
