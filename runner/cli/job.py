"""One job: a configuration that Hydra composed becomes a run, a resumed run, or an evaluation."""

from __future__ import annotations

import logging
import os
from functools import cache, partial

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner import build
from runner import config as schema
from runner.checks import known
from runner.cli import (
    authority,
    code_changes,
    code_warnings,
    conf_changes,
    conf_places,
    console,
    evaluating,
    parallel,
    run_folder,
    run_identity,
    running,
    source,
    together,
    trial_pruning,
    using,
    without_effect,
)
from runner.cli.commands import Commands
from runner.cli.launching import launcher_of
from runner.cli.outcome import Outcome
from runner.cli.request import Request, job_part
from runner.cli.short_command import ShortCommand
from runner.cli.sweeping import seed as sweep_seed
from runner.config import Mode
from runner.config.sweeping import SweepSeed
from runner.errors import ConfigError, SnapshotNotFoundError
from runner.graph import Workflow, random_state
from runner.launcher import Launcher
from runner.snapshots.claims import Claims
from runner.snapshots.format.header import Header
from runner.snapshots.restoring import kept_modules
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores.location import concealed
from runner.use.sources import STANDARD

log = logging.getLogger(__name__)

_UNREAD = "some of the data could not be read"
CHECKED_AT_ONCE = ("decision", "metrics", "snapshotter")
"""Sections that need no data to be checked."""


def run(node: DictConfig) -> Outcome:
    """Runs the job."""
    parallel.join(os.environ)
    code_warnings.show_as_lines()
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
    without_effect.check_empty(node, request.emptied)
    if node.mode is not Mode.train:
        without_effect.check_mode(node, request.typed_keys)
    if node.output == STANDARD:
        console.to_stderr()
    taken_over = schema.let_optimizer_take_over(node, request.typed_keys)
    if node.snapshot:
        node.snapshot = concealed(node.snapshot).replace("${", "\\${")  # it is resolved already
    with Claims() as claims, kept_modules.apart():
        if not processes.leads:
            run_folder.leave_to_first(HydraConfig.get().runtime.output_dir)
        if processes.size > 1 and (node.mode is not Mode.train or node.graph):
            what = "graph" if node.graph else f"mode={node.mode.value}"
            raise ConfigError(f"{what} is for one process, and {processes.size} were started")
        together.choose_gpu(str(node.device), processes)
        restored = together.find_own_snapshot(node, request, claims, processes)
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
            code_changes.warn(restored, node.mode)
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
    launcher = launcher_of(config, node, request, identity)
    _may_be_pruned(workflow, launcher, request)
    launcher.attach(workflow)
    claim = partial(claims.take, log_id=launcher.run_id, identity=identity["identity"])
    commands = Commands(request, ShortCommand(node, request, workflow.name, identity, config.seed))
    return running.run(workflow, launcher, commands, config, claim)


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
    now = source.overridden(before, request.run_overrides, node)
    conf_changes.keep_fixed(before, now, restored)
    conf_changes.check(before, now, request, restored.header.typed)
    conf_changes.tell(now, node, restored, request)
    now.mode, now.snapshot, now.restore = node.mode, node.snapshot, node.restore
    now.logger, now.loggers = node.logger, node.loggers
    now.seed = before.seed if now.seed is None else now.seed  # any will do
    now.workflow.name = before.workflow.name if now.workflow.name == workflow.name else now.workflow.name
    without_effect.check_empty(now, request.emptied)
    without_effect.check(now, request.typed_keys)
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
    launcher = launcher_of(config, now, request, identity, restored.header)
    launcher.attach(workflow)
    source.allow_changed_data(workflow, config.restore.allow_changed_data)
    log.info("Resuming from %s (%s)", restored.location, _position(restored.header))
    changes = build.reconfigure(workflow, was, config, request.output_dir)
    if changes:
        console.print_changes(changes)
    code_changes.warn(restored, node.mode)
    if workflow.complete:
        if any(key.partition(".")[0] not in CHECKED_AT_ONCE for key in changes):
            processes.connect(launcher.device, config.parallel.timeout)
            launcher.prepare(workflow)  # nothing runs, but what was typed is wrong here, too, if it would be there
        return running.already_complete(restored, launcher, request, config.seed)
    _may_be_pruned(workflow, launcher, request)
    commands = Commands(request, ShortCommand(node, request, workflow.name, identity, config.seed))
    return running.run(workflow, launcher, commands, config, claim)


def _may_be_pruned(workflow: Workflow, launcher: Launcher, request: Request) -> None:
    """Has a job of a search ended early, if the search prunes."""
    if request.sweep:
        decision = getattr(workflow, "decision", None)
        launcher.loggers.add(trial_pruning.of_job(lambda: getattr(decision, "monitor", "validation"), launcher.end))


def _stay_where_the_command_was_typed() -> None:
    """Undoes `hydra.job.chdir`: all paths, those in printed commands included, are relative to where the command was typed."""
    typed_in = HydraConfig.get().runtime.cwd
    if not os.path.samefile(typed_in, os.curdir):
        log.warning("hydra.job.chdir=true changes nothing: paths are relative to the folder where the command was typed")
        os.chdir(typed_in)


def _position(header: Header) -> str:
    done = f"{header.epoch} epochs" if header.epoch != 1 else "1 epoch"
    return f"{done} and {header.iteration} minibatches done" if header.iteration else f"{done} done"
