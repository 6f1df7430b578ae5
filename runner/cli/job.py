"""One job: a configuration that Hydra composed becomes a run, a resumed run, or an evaluation."""

from __future__ import annotations

import logging
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from runner import build, randomness
from runner import config as schema
from runner.cli import console
from runner.config import Config, Mode, targets
from runner.config.targets import TARGET
from runner.errors import ConfigError, SnapshotMismatchError, SnapshotNotFoundError, first_line, known
from runner.graph import Workflow
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.snapshots.allowed.entries import GIVEN
from runner.snapshots.header import Header
from runner.snapshots.location import SCHEME, Location, concealed, is_of_this_machine
from runner.snapshots.restore import Restored, folder_stores, restore_latest, restore_with
from runner.snapshots.trust import Policy

log = logging.getLogger(__name__)

EXIT_CODES = {None: 0, signal.SIGTERM: 75, signal.SIGINT: 130}
NOT_OF_THE_RUN = ("conf", "snapshot", "mode", "graph", "restore")


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what sweeps minimise, such as the best validation error, and the exit code of the process."""

    error: float | None
    exit_code: int = 0


@dataclass(frozen=True)
class Request:
    """What Hydra says of the job."""

    conf: str | None
    typed: list[str]
    output_dir: str
    run_folders: list[Path]
    sweep: bool

    @classmethod
    def from_hydra(cls) -> Request:
        """Reads it from Hydra's own configuration."""
        config = HydraConfig.get()
        return cls(
            conf=config.runtime.choices.get("conf"),
            # Unresolved, since a reference may lead to a password.
            typed=OmegaConf.to_container(config.overrides.task),  # type: ignore[arg-type]
            output_dir=_relative(config.runtime.output_dir),
            run_folders=[_top(config.run.dir), _top(config.sweep.dir)],
            sweep=config.mode is RunMode.MULTIRUN,
        )

    @property
    def run_overrides(self) -> list[str]:
        """The overrides that describe the run itself."""
        return [text for text in self.typed if _section(text) not in NOT_OF_THE_RUN]

    @property
    def restore_overrides(self) -> list[str]:
        """The overrides that say how far a snapshot is trusted: those of `restore`, and the classes that were typed."""
        return [text for text in self.typed if _section(text) == "restore" or text.partition("=")[0].endswith(f".{TARGET}")]


def _section(override: str) -> str:
    return override.lstrip("+").partition("=")[0].partition(".")[0]


def run(node: DictConfig) -> Outcome:
    """Runs the job."""
    request = Request.from_hydra()
    node = _typed(node)
    if node.snapshot:
        node.snapshot = concealed(node.snapshot)
    restored = _find_snapshot(node, request)
    if restored is None:
        if node.mode is Mode.evaluate:
            raise SnapshotNotFoundError("mode=evaluate scores a snapshot: name it with snapshot=FILE or snapshot=latest")
        return _fresh(node, request)
    _check_workflow(restored, node, request)
    if node.graph:
        return _draw(restored.workflow, node.graph)
    if node.mode is Mode.evaluate:
        return _evaluate(restored, node)
    return _resume(restored, node, request)


def _fresh(node: DictConfig, request: Request) -> Outcome:
    name = _name(node, request)
    if name is None:
        loader = GlobalHydra.instance().config_loader()
        raise ConfigError(f"conf=NAME says what to run; known: {known(loader.get_group_options('conf'))}")
    config = schema.from_hydra(node)
    build.check_seed(config.seed)
    node.seed = config.seed = randomness.draw_seed() if config.seed is None else config.seed
    workflow = build.build(config, name=name, seed=config.seed, output_dir=request.output_dir)
    if config.graph:
        return _draw(workflow, config.graph)
    launcher = _launcher(config, node, request)
    launcher.attach(workflow)
    return _run(workflow, launcher, request, config.seed)


def _draw(workflow: Workflow, path: str) -> Outcome:
    workflow.generate_graph(path)
    log.info("Graph of %s: %s", workflow.name, path)
    return Outcome(None)


def _resume(restored: Restored, node: DictConfig, request: Request) -> Outcome:
    workflow = restored.workflow
    before = _snapshot_config(restored.header)
    now = _overridden(before, request.run_overrides)
    now.mode, now.snapshot, now.restore = node.mode, node.snapshot, node.restore
    _check_database(now, node)
    config = schema.from_hydra(now)
    launcher = _launcher(config, now, request, conf=restored.header.conf)
    launcher.attach(workflow)
    _allow_changed_data(workflow, config.restore.allow_changed_data)
    log.info("Resuming from %s (%s)", restored.location, _position(restored.header))
    changes = build.reconfigure(workflow, schema.from_hydra(before), config, request.output_dir)
    if changes:
        console.print_changes(changes)
    _warn_of_new_code(restored)
    if workflow.complete:
        return _already_complete(restored, request)
    return _run(workflow, launcher, request, config.seed)


def _already_complete(restored: Restored, request: Request) -> Outcome:
    """Says how a complete run is extended; snapshots that could not be delivered then are delivered now."""
    workflow, location, exit_code = restored.workflow, restored.location, 0
    for snapshotter in build.snapshotters(workflow):
        location = snapshotter.store.deliver().get(restored.header.uuid, location)
        exit_code = 1 if snapshotter.store.waiting else exit_code
    if workflow.limit is not None:
        log.info("The run is complete: it has reached %s=%d", *workflow.limit)
        log.info("Extend it: %s", _extend(workflow.limit, location, request))
    return Outcome(workflow.objective, exit_code)


def _check_database(now: DictConfig, node: DictConfig) -> None:
    """Raises a ConfigError if only the snapshot names the database that it would have the run write to."""
    odbc, named = now.snapshotter._get_node("odbc")._value(), node.snapshotter._get_node("odbc")._value()
    place = Location.parse(node.snapshot).odbc if node.snapshot.startswith(SCHEME) else None
    if odbc and odbc not in (named, place) and not is_of_this_machine(odbc):
        raise ConfigError(
            f"the snapshot's own configuration names the database {odbc!r}, which nobody else has named: confirm it with"
            " snapshotter.odbc='...', or write to files with snapshotter.odbc=null"
        )


def _allow_changed_data(workflow: Workflow, allow: bool) -> None:
    if isinstance(workflow, StandardWorkflow):
        workflow.loader.allow_changed_data_ = allow


def _evaluate(restored: Restored, node: DictConfig) -> Outcome:
    workflow = restored.workflow
    _allow_changed_data(workflow, node.restore.allow_changed_data)
    Launcher(device=node.device, threads=node.threads).attach(workflow)
    workflow.initialize()
    scores = workflow.evaluate()
    if not scores:
        raise ConfigError(f"mode=evaluate: the run of {restored.location!r} has no validation set to score it on")
    log.info("%s: %s", restored.location, workflow.scores_text(scores))
    return Outcome(next(iter(scores.values())))


def _run(workflow: Workflow, launcher: Launcher, request: Request, seed: int | None) -> Outcome:
    build.prepare_stores(workflow)
    launcher.catch_signals()
    workflow.initialize()
    where = launcher.device if launcher.threads is None else f"{launcher.device}, threads {launcher.threads}"
    log.info("%s %s: seed %d, %s", workflow.activity, workflow.name, seed, where)
    with console.progress_of(workflow):
        workflow.run()
    complete = workflow.complete
    _summarize(workflow, request)
    if request.sweep:
        # Between two jobs a signal ends the process; behind a single run it must not change the exit code.
        launcher.release_signals()
        complete = complete and not launcher.stop_requested
    if any(snapshotter.failed_ for snapshotter in build.snapshotters(workflow)):
        return Outcome(workflow.objective, exit_code=1)
    return Outcome(workflow.objective, EXIT_CODES[None if complete else launcher.stop_signal])


def _summarize(workflow: Workflow, request: Request) -> None:
    if workflow.summary is not None:
        log.info("%s", workflow.summary)
    written = [unit for unit in build.snapshotters(workflow) if unit.last_location is not None]
    if not written:
        if not workflow.complete:
            log.warning("There is no snapshot to continue from")
        return
    location = written[-1].last_location
    assert location is not None
    log.info("Snapshots: %s", written[-1].destination)
    if not workflow.complete:
        log.info("Continue: %s", _command(location, request))
    elif workflow.limit is not None:
        log.info("Extend: %s", _extend(workflow.limit, location, request))


def _name(node: DictConfig, request: Request) -> str | None:
    """Returns the name of the workflow that the conf file, or what was typed, describes."""
    target = str(node.workflow[TARGET] or "").rpartition(".")[2]
    return node.workflow.name or request.conf or target or None


def _find_snapshot(node: DictConfig, request: Request) -> Restored | None:
    """Restores what `snapshot` names; None means a fresh start."""
    source = node.snapshot
    if not source:
        return None
    policy = Policy(node.restore.trust, (*node.restore.trusted, *_own_packages(node)), node.restore.key)
    if source not in ("latest", "auto"):
        return restore_with(source, policy)
    wanted = _name(node, request)
    settings = schema.from_hydra(node).snapshotter
    named = build.snapshot_store(settings, "") if settings.odbc or settings.directory else None

    def is_wanted(header: Header) -> bool:
        same = not request.sweep or source == "latest" or header.overrides == request.run_overrides
        return same and (wanted is None or header.workflow == wanted)

    found = restore_latest([named] if named else folder_stores(request.run_folders), is_wanted, policy)
    if found is None:
        where = named or " and ".join(map(str, request.run_folders))
        missing = f"there is no snapshot of {wanted or 'any workflow'!r} in {where}"
        if source == "latest":
            raise SnapshotNotFoundError(f"snapshot=latest: {missing}")
        log.info("snapshot=auto: %s; starting afresh", missing)
    return found


def _check_workflow(restored: Restored, node: DictConfig, request: Request) -> None:
    wanted = _name(node, request)
    if request.conf is not None and restored.header.workflow != wanted:
        raise SnapshotMismatchError(
            f"snapshot {restored.location!r} is of workflow {restored.header.workflow!r}, and conf={request.conf} is"
            f" {wanted!r}: leave conf out, or name a snapshot of {wanted!r}"
        )


def _own_packages(node: DictConfig) -> list[str]:
    """Returns the packages of the classes that the user names, in a conf file or on the command line.

    They are run anyway. What the snapshot says that its classes are does not count: its own configuration is not looked at.
    """
    named = targets.packages(OmegaConf.to_container(node, resolve=False))
    return [package for package in named if package.partition(".")[0] not in GIVEN]


def _typed(node: DictConfig) -> DictConfig:
    """Returns the job's part of Hydra's configuration, with the schema's types and nothing else."""
    keys = OmegaConf.structured(Config)
    typed: DictConfig = OmegaConf.merge(keys, OmegaConf.masked_copy(node, list(keys)))  # type: ignore[assignment]
    return typed


def _snapshot_config(header: Header) -> DictConfig:
    """Returns the configuration that a snapshot was made with."""
    try:
        # A snapshot has no say in how far it, or the next one, is trusted.
        config = {key: value for key, value in header.config.items() if key != "restore"}
        node: DictConfig = OmegaConf.merge(OmegaConf.structured(Config), config)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise SnapshotMismatchError(f"the configuration in the snapshot is not of this version: {error}") from error
    node.layers = schema.checked_layers(node)
    node.mcdnnic_topology, node.mcdnnic_parameters = None, {}
    return node


def _overridden(node: DictConfig, overrides: list[str]) -> DictConfig:
    """Returns the configuration with what was typed over it."""
    result = node.copy()
    for override in OverridesParser.create().parse_overrides(overrides):
        try:
            with open_dict(result.layers):
                OmegaConf.update(result, override.key_or_group, override.value())
        except OmegaConfBaseException as error:
            raise ConfigError(f"{override.input_line}: {first_line(error)}") from error
    return result


def _launcher(config: Config, node: DictConfig, request: Request, conf: str | None = None) -> Launcher:
    _save_effective(node, request)
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return Launcher(
        device=config.device,
        threads=config.threads,
        config=container,
        overrides=request.run_overrides,
        conf=conf or request.conf,
    )


def _save_effective(node: DictConfig, request: Request) -> None:
    """Puts the configuration that the run really has where Hydra has put the one that it composed."""
    path = Path(request.output_dir) / ".hydra" / "config.yaml"
    if path.is_file():
        OmegaConf.save(node, path)


def _warn_of_new_code(restored: Restored) -> None:
    from runner.snapshots import provenance

    now = provenance.code(restored.workflow)
    changed = sorted(module for module, digest in restored.header.code.items() if now.get(module) != digest)
    if changed:
        log.warning("The code has changed since the snapshot (%s): the run may go on differently", ", ".join(changed))


def _position(header: Header) -> str:
    done = f"{header.epoch} epochs" if header.epoch != 1 else "1 epoch"
    return f"{done} and {header.iteration} minibatches done" if header.iteration else f"{done} done"


def _extend(limit: tuple[str, int], location: str, request: Request) -> str:
    key, value = limit
    return f"{_command(location, request)} {key}={2 * value}"


def _command(location: str, request: Request) -> str:
    conf = [f"conf={request.conf}"] if request.conf else []
    return shlex.join(["veles-run", *conf, f"snapshot={location}", *request.restore_overrides])


def _top(path: str) -> Path:
    """Returns the folder that holds all folders of runs: `outputs` for `outputs/2026-11-24/11-24-19`."""
    folder = Path(_relative(path))
    return folder.parent if folder.is_absolute() else Path(folder.parts[0])


def _relative(path: str) -> str:
    """Returns the path relative to the current folder, where it is below it."""
    folder = Path(path)
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else path
