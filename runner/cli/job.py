"""One job: a configuration that Hydra composed becomes a run, a resumed run, or an evaluation."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from runner import build, passwords, places, signals
from runner import config as schema
from runner.checks import first_line, known
from runner.cli import (
    authority,
    closing,
    conf_changes,
    conf_places,
    console,
    evaluating,
    overview,
    own_snapshot,
    parallel,
    run_folder,
    run_identity,
    source,
    together,
    trial_pruning,
    using,
    without_effect,
)
from runner.cli.request import Request, job_part, relative
from runner.cli.short_command import ShortCommand
from runner.cli.sweeping import seed as sweep_seed
from runner.config import Config, Mode
from runner.config.sweeping import SweepSeed
from runner.errors import ConfigError, RunError, RunnerError, SnapshotError, SnapshotNotFoundError
from runner.graph import Workflow, random_state
from runner.launcher import Launcher
from runner.loggers import logger_types
from runner.loggers.logger import Logger
from runner.loggers.metrics_file import MetricsFile
from runner.nn import StandardWorkflow
from runner.plots.canvas import can_draw
from runner.snapshots.claims import Claims
from runner.snapshots.format.header import Header
from runner.snapshots.kept_code import KeptCode, counted
from runner.snapshots.restoring import kept_modules
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores import spool
from runner.snapshots.stores.location import concealed
from runner.snapshots.stores.store import Store
from runner.use.sources import STANDARD

log = logging.getLogger(__name__)

_UNREAD = "some of the data could not be read"
_TRACEBACK = "traceback: "
"""How the note on an error begins that says where its traceback is."""
_NOT_EXACT = "does not have a deterministic implementation"
"""What torch says of an operation whose results on a GPU differ from time to time."""
CHECKED_AT_ONCE = ("decision", "metrics", "snapshotter")
"""Sections that need no data to be checked."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what sweeps minimize, such as the best validation error, and the exit code of the process.

    Attributes:
        fault: what an exit code of 1 says.
    """

    error: float | None
    exit_code: int = 0
    fault: str = "a snapshot could not be written"


def run(node: DictConfig) -> Outcome:
    """Runs the job."""
    parallel.join(os.environ)
    _stay_where_the_command_was_typed()
    run_folder.check_log_name()
    request = Request.from_hydra()
    with conf_places.told(request.typed):
        return _job(job_part(node), request)


def _job(node: DictConfig, request: Request) -> Outcome:
    processes = parallel.here()
    schema.check_use(node.mode, node.snapshot, node.data, node.output)
    if not request.sweep and (named := [key for key in request.typed_keys if key.startswith("sweep.")]):
        raise ConfigError(f"{named[0]} is for sweeps: veles-run -m")
    if node.mode is not Mode.train:
        without_effect.check_mode(node, request.typed_keys)
    if node.output == STANDARD:
        console.to_stderr()
    taken_over = schema.let_optimizer_take_over(node, request.typed_keys)
    if node.snapshot:
        node.snapshot = concealed(node.snapshot).replace("${", "\\${")  # it is resolved already
    with Claims() as claims, kept_modules.apart():
        if not processes.leads:
            run_folder.keep(HydraConfig.get().runtime.output_dir)  # it is that of process 0
        if processes.size > 1 and (node.mode is not Mode.train or node.graph):
            what = "graph" if node.graph else f"mode={node.mode.value}"
            raise ConfigError(f"{what} is for one process, and {processes.size} were started")
        together.choose_gpu(str(node.device), processes)
        restored = own_snapshot.find_snapshot(node, request, claims)
        if restored is not None:
            request = request.without_snapshot()  # the job began with it; now it goes on with its own
        else:
            restored = together.find_snapshot(node, request, claims, processes)
        if restored is None:
            if node.mode is not Mode.train:
                what = f"mode={node.mode.value} needs a snapshot"
                raise SnapshotNotFoundError(f"{what}: name it with snapshot=FILE or snapshot=latest")
            return _fresh(node, request, taken_over, claims)
        if node.graph:
            return _draw(restored.workflow, node.graph)
        if node.mode is not Mode.train:
            _warn_of_new_code(restored, node.mode)
        if node.mode is Mode.predict:
            return Outcome(None, using.predict(restored, node, request), _UNREAD)
        if node.mode is Mode.evaluate:
            return Outcome(*evaluating.evaluate(restored, node, request), _UNREAD)
        return _resume(restored, node, request, claims)


def _fresh(node: DictConfig, request: Request, taken_over: list[str], claims: Claims) -> Outcome:
    name = request.workflow_name(node)
    if name is None:
        loader = GlobalHydra.instance().config_loader()
        raise ConfigError(f"conf=NAME says what to run; known: {known(loader.get_group_options('conf'))}")
    config = schema.from_hydra(node)
    schema.checked_layers(node, request.typed_keys)
    without_effect.check(node, request.typed_keys)
    build.check_seed(config.seed)
    parallel.here().check_shards(config.parallel.shards)
    drawn = config.seed is None
    if not drawn and config.sweep.seed is SweepSeed.per_job:
        raise ConfigError(
            f"seed={config.seed} is one seed for all jobs, and sweep.seed=per_job draws one for each: leave one out"
        )
    if config.seed is None:
        config.seed = together.seed(_drawn_seed(node, request), parallel.here())
    node.seed = config.seed
    workflow = build.build(config, name=name, seed=config.seed, output_dir=request.output_dir)
    if config.graph:
        return _draw(workflow, config.graph)
    if taken_over:
        log.info("The optimizer takes the place of %s", ", ".join(taken_over))
    identity = run_identity.of_fresh(config, workflow, drawn)
    launcher = _launcher(config, node, request, identity)
    _may_be_pruned(workflow, launcher, request)
    launcher.attach(workflow)
    claim = partial(claims.take, log_id=launcher.run_id, identity=identity["identity"])
    commands = Commands(request, ShortCommand(node, request, workflow.name, identity, config.seed))
    return _run(workflow, launcher, commands, config, claim)


def _drawn_seed(node: DictConfig, request: Request) -> int:
    """Returns a seed that nobody has chosen: the jobs of a sweep compare settings, so they share one."""
    if not request.sweep:
        return random_state.draw_seed()
    if node.sweep.seed is SweepSeed.shared:
        _tell_seed(sweep_seed.of_sweep())
    return sweep_seed.of(node.sweep.seed, request.output_dir)


@cache
def _tell_seed(seed: int) -> None:
    """Says once which seed the jobs of a sweep have."""
    log.info("%s", sweep_seed.told(seed))


def _draw(workflow: Workflow, path: str) -> Outcome:
    workflow.generate_graph(path)
    log.info("Graph of %s: %s", workflow.name, path)
    return Outcome(None)


def _resume(restored: Restored, node: DictConfig, request: Request, claims: Claims) -> Outcome:
    workflow, processes = restored.workflow, parallel.here()
    before = source.snapshot_config(restored, node, request)
    conf_changes.keep(before, restored)
    conf_changes.tell(before, node, restored, request)
    now = source.overridden(before, request.run_overrides, node)
    conf_changes.check(before, now, request)
    now.mode, now.snapshot, now.restore = node.mode, node.snapshot, node.restore
    now.logger, now.loggers = node.logger, node.loggers
    now.seed = before.seed if now.seed is None else now.seed  # any will do
    now.workflow.name = before.workflow.name if now.workflow.name == workflow.name else now.workflow.name
    authority.check_places(now, node, source.as_named(restored, request))
    config, was = schema.from_hydra(now), schema.from_hydra(before)
    identity = run_identity.of_resumed(restored.header, workflow, was, config)
    run = request.output_dir if request.branches else restored.header.log_id
    processes.check_shards(config.parallel.shards)
    claim = partial(claims.take, log_id=run, identity=identity["identity"])
    if processes.leads:
        claim(restored.store)
    if restored.header.identity not in (None, identity["identity"]):
        for snapshotter in snapshotters(workflow):
            snapshotter.branch()  # another run, which must not delete the snapshots of this one
    launcher = _launcher(config, now, request, identity, restored.header)
    launcher.attach(workflow)
    source.allow_changed_data(workflow, config.restore.allow_changed_data)
    log.info("Resuming from %s (%s)", restored.location, _position(restored.header))
    changes = build.reconfigure(workflow, was, config, request.output_dir)
    if changes:
        console.print_changes(changes)
    _warn_of_new_code(restored, node.mode)
    if workflow.complete:
        if any(key.partition(".")[0] not in CHECKED_AT_ONCE for key in changes):
            launcher.prepare(workflow)  # nothing runs, but what was typed is wrong here, too, if it would be there
        return _already_complete(restored, launcher, request, config.seed)
    _may_be_pruned(workflow, launcher, request)
    commands = Commands(request, ShortCommand(node, request, workflow.name, identity, config.seed))
    return _run(workflow, launcher, commands, config, claim)


def _may_be_pruned(workflow: Workflow, launcher: Launcher, request: Request) -> None:
    """Has a job of a search ended early, if the search prunes."""
    if request.sweep:
        decision = getattr(workflow, "decision", None)
        launcher.loggers.add(trial_pruning.of_job(lambda: getattr(decision, "monitor", "validation"), launcher.end))


def _already_complete(restored: Restored, launcher: Launcher, request: Request, seed: int | None) -> Outcome:
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


def _run(workflow: Workflow, launcher: Launcher, commands: Commands, config: Config, claim: Callable[[Store], None]) -> Outcome:
    request, began = commands.request, time.monotonic()
    processes = launcher.processes
    processes.connect(launcher.device, config.parallel.timeout)
    with launcher.session(workflow) as run:
        for snapshotter in snapshotters(workflow) if processes.leads else ():
            claim(snapshotter.store)
        run_folder.keep(HydraConfig.get().runtime.output_dir)
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
            closing.show(workflow, took, places, commands.shown(workflow, complete))
        finally:
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


def failure(error: BaseException) -> RunnerError:
    """Returns what an error is shown as. The traceback of one that is not only ours is in the log, and it says so.

    One of ours that the user's own class has raised says all that is needed: the class meant it to be shown.
    """
    place = places.of(error)
    if isinstance(error, InterpolationResolutionError) and place is None:
        return ConfigError(f"{error.full_key}: {first_line(error)}")
    if isinstance(error, RunnerError):
        is_foreign = error.__cause__ is not None and (place is not None or isinstance(error, RunError))
        if not is_foreign or any(note.startswith(_TRACEBACK) for note in getattr(error, "__notes__", ())):
            return error
    told = error if isinstance(error, RunnerError) else RunError(f"the run has failed: {places.told(error)}")
    if place and place not in str(told):
        told.add_note(place)
    if _NOT_EXACT in str(error):
        told.add_note("a run on a GPU could not be continued bit for bit with it: use another operation, or device=cpu")
    log.error("%s", told, exc_info=error, extra=console.IN_FILE_ONLY)
    config = HydraConfig.get()
    run_folder.keep(config.runtime.output_dir)
    told.add_note(f"{_TRACEBACK}{relative(config.runtime.output_dir)}/{config.job.name}.log")
    return told


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
    written = [unit for unit in snapshotters(workflow) if unit.last_location is not None]
    return str(written[-1].store) if written else None


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
        closing.show_commands(commands.shown(workflow, complete=False))
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


@dataclass(frozen=True)
class Commands:
    """The commands by which a run goes on: in the log with the whole location of the snapshot, on a terminal short."""

    request: Request
    short: ShortCommand

    def whole(self, workflow: Workflow, complete: bool) -> tuple[str, str] | None:
        """Returns the title of the command that names the newest snapshot, and the command; None if there is none."""
        location = _newest(workflow)
        if location is None or (complete and workflow.limit is None):
            return None
        if complete:
            return "Extend", self.request.extension(location, workflow.extension)
        return "Continue", self.request.continuation(location)

    def shown(self, workflow: Workflow, complete: bool) -> dict[str, str]:
        """Returns the commands that a terminal shows, by their titles."""
        location, whole = _newest(workflow), self.whole(workflow, complete)
        found = {}
        if whole is not None:
            keys = workflow.extension if complete else {}
            found[whole[0]] = self.short(keys) or whole[1]
        if location is not None and isinstance(workflow, StandardWorkflow) and workflow.loader.evaluation():
            found["Score"] = f"{self.short() or self.request.continuation(location)} mode=evaluate"
        return found


def _newest(workflow: Workflow) -> str | None:
    written = [unit.last_location for unit in snapshotters(workflow) if unit.last_location is not None]
    return written[-1] if written else None


def _stay_where_the_command_was_typed() -> None:
    """Undoes `hydra.job.chdir`: all paths, those in printed commands included, are relative to where the command was typed."""
    typed_in = HydraConfig.get().runtime.cwd
    if not os.path.samefile(typed_in, os.curdir):
        log.warning("hydra.job.chdir=true changes nothing: paths are relative to the folder where the command was typed")
        os.chdir(typed_in)


def _launcher(
    config: Config, node: DictConfig, request: Request, identity: Mapping[str, Any], header: Header | None = None
) -> Launcher:
    logger_types.check_names(config.logger_names)
    processes = parallel.here()
    if processes.leads:
        _save_effective(node, request)
        run_folder.permit(request.output_dir, config.snapshotter.permissions)
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return Launcher(
        processes=processes,
        device=together.device(config.device, processes),
        threads=config.threads,
        plots=request.output_dir if _wants_plots(config.plotters, request) and processes.leads else None,
        loggers=_loggers(config, request) if processes.leads else (),
        folder=request.output_dir,
        config=container,
        overrides=request.run_overrides,
        typed=sorted({*request.typed_keys_of_run, *(header.typed if header else ())}),
        referenced=conf_changes.referenced(node, config),
        conf=(header and header.conf) or request.conf,
        identity=identity,
    )


def _loggers(config: Config, request: Request) -> list[Logger]:
    return [
        MetricsFile(request.output_dir, config.snapshotter.permissions),
        *logger_types.made(config.logger_names, asdict(config.loggers)),
    ]


def _wants_plots(asked: bool | None, request: Request) -> bool:
    if asked and not can_draw():
        raise ConfigError("plotters=true needs matplotlib, which is not installed: pip install 'veles-runner[plot]'")
    return can_draw() and not request.sweep if asked is None else asked


def _save_effective(node: DictConfig, request: Request) -> None:
    """Puts the configuration that the run really has where Hydra has put the one that it composed."""
    path = Path(request.output_dir) / ".hydra" / "config.yaml"
    if path.is_file():
        OmegaConf.save(node, path)


def _warn_of_new_code(restored: Restored, mode: Mode) -> None:
    """Says which modules have changed since the snapshot."""
    from runner.snapshots import provenance

    now = provenance.code(restored.workflow)
    changed = sorted(module for module, digest in restored.header.code.items() if now.get(module) != digest)
    if mode is not Mode.train:  # what a later version of this project scores is tested, and its version is in the header
        changed = [module for module in changed if module.partition(".")[0] != "runner"]
    if changed:
        told = ", ".join(f"{module}{_how_much(restored, module)}" for module in changed)
        so = "the run may go on differently" if mode is Mode.train else "the network may answer differently"
        log.warning("The code has changed since the snapshot (%s): %s", told, so)


def _how_much(restored: Restored, module: str) -> str:
    """Returns how much a module has changed, if its code is kept with the snapshot."""
    with suppress(SnapshotError, OSError):
        code = KeptCode.of(restored.header, restored.store)
        if (file := code.modules.get(module)) and (path := getattr(sys.modules.get(module), "__file__", None)):
            return f" {counted(code.files[file], Path(path).read_text(errors='replace'))}"
    return ""


def _position(header: Header) -> str:
    done = f"{header.epoch} epochs" if header.epoch != 1 else "1 epoch"
    return f"{done} and {header.iteration} minibatches done" if header.iteration else f"{done} done"
