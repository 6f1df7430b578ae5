"""Builds workflows from configurations: the only place where a configuration becomes objects."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from runner import passwords
from runner.config import Config, SnapshotterConfig, flattened, plain
from runner.config.loading import LoaderConfig
from runner.config.training import MetricsConfig
from runner.errors import ConfigError
from runner.graph import Workflow, random_state
from runner.metrics import records_of
from runner.nn import StandardWorkflow
from runner.snapshots.constructors import FOLDER
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.snapshotter import Snapshotter, snapshotters
from runner.snapshots.stores import store_in
from runner.snapshots.stores.spool import with_spool
from runner.snapshots.stores.store import Store
from runner.targets import TARGET, check_arguments, locate

log = logging.getLogger(__name__)

LAUNCH_KEYS = frozenset(
    (
        *("mode", "graph", "snapshot", "data", "output", "device", "threads", "plotters", "report", "logger", "loggers"),
        *("restore", "sweep", "parallel.timeout"),
    )
)
"""Keys that apply to a process, not to a run: they may differ each time a run is resumed."""

NETWORK_SECTIONS = (
    *("precision", "loader", "loss_function", "loss", "model", "layers", "mcdnnic_topology", "mcdnnic_parameters"),
    *("layer_defaults", "optimizer", "scheduler", "freeze", "ema", "init_from", "lr_adjuster", "scores", "decision"),
    *("rollback", "parallel"),
)
"""Sections that apply only to a standard workflow."""


def build(config: Config, *, name: str, seed: int, output_dir: str) -> Workflow:
    """Seeds the global random generators, then builds the workflow that the configuration describes.

    Args:
        config: the checked configuration.
        name: the workflow's name, if the configuration does not set one.
        seed: the seed for everything random.
        output_dir: the folder for snapshots, if the configuration does not set one.

    Raises:
        ConfigError: a key is wrong, or the workflow's constructor does not know it.
    """
    arguments = dict(config.workflow)
    name, target = arguments.pop("name") or name, arguments.pop(TARGET)
    cls: Any = StandardWorkflow if target is None else locate(f"workflow.{TARGET}", target, Workflow)
    if issubclass(cls, StandardWorkflow):
        settings = _network(config, seed, output_dir)
        arguments = check_arguments("workflow", cls, arguments, given={*settings, "shards", "name"})
        random_state.seed_all(seed)
        network: StandardWorkflow = cls(name, **settings, **arguments)
        _configure_records(network, config.metrics)
        return network
    _check_no_network(config, cls)
    arguments = check_arguments("workflow", cls, arguments, given=(), reserved={"workflow", "name"})
    random_state.seed_all(seed)
    workflow: Workflow = cls(**arguments)
    workflow.name = name
    for snapshotter in snapshotters(workflow):
        _tell_replaced(snapshotter, config.snapshotter)
    _configure_snapshotters(workflow, config.snapshotter, output_dir)
    _configure_records(workflow, config.metrics)
    return workflow


def _network(config: Config, seed: int, output_dir: str) -> dict[str, Any]:
    """Returns the arguments of a standard workflow that the configuration's sections give."""
    return {
        "seed": seed,
        "precision": config.precision.value,
        "loader_name": config.loader._target_ or config.loader.name,
        "loader_config": config.loader.settings(),
        "loss_function": config.loss_function.value,
        "loss_config": config.loss,
        "layers": config.layers,
        "optimizer_config": config.optimizer,
        "scheduler_config": config.scheduler,
        "freeze": config.freeze,
        "ema": config.ema,
        "init_from": config.init_from,
        "lr_adjuster_config": config.lr_adjuster.settings(),
        "scores_config": config.scores,
        "decision_config": asdict(config.decision),
        "rollback_config": asdict(config.rollback),
        # A class of the user's own may not know of shards.
        **({} if config.parallel.shards is None else {"shards": config.parallel.shards}),
        "snapshotter_config": _snapshotter(config.snapshotter, output_dir),
    }


def _check_no_network(config: Config, cls: type) -> None:
    """Raises a ConfigError if the configuration describes a network, but the workflow is not one."""
    given, defaults = plain(config), plain(Config(layers={}))
    for section in NETWORK_SECTIONS:
        if given[section] != defaults[section]:
            raise ConfigError(f"{section} is for a StandardWorkflow, which {cls.__name__} is not: its keys go below workflow")


def reconfigure(workflow: Workflow, before: Config, now: Config, output_dir: str) -> dict[str, tuple[Any, Any]]:
    """Applies a changed configuration to a restored workflow; returns the old and new value of each changed key.

    Raises:
        ConfigError: a changed key cannot change after construction.
    """
    changes = _changes(before, now)
    for key, (_, value) in changes.items():
        section = key.partition(".")[0]
        if section == "lr_adjuster" and isinstance(workflow, StandardWorkflow):
            workflow.lr_adjuster.reconfigure(**now.lr_adjuster.settings())
        elif section not in ("snapshotter", "metrics"):
            workflow.override(key, value)
    _configure_snapshotters(workflow, now.snapshotter, output_dir)
    _configure_records(workflow, now.metrics)
    return changes


def score_with(workflow: Workflow, before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Applies a changed configuration to a restored workflow that is only to be scored; returns the changes.

    Raises:
        ConfigError: a changed key cannot change.
    """
    changes = _changes(before, now)
    for key, (_, value) in changes.items():
        if key.startswith("workflow."):
            workflow.override(key, value)
    was, settings = before.loader.settings(), now.loader.settings()
    if isinstance(workflow, StandardWorkflow) and was != settings:
        defaults = {item.name: getattr(LoaderConfig(), item.name) for item in fields(LoaderConfig)}
        workflow.loader.score_with(
            **{name: settings.get(name, defaults.get(name)) for name in was | settings if was.get(name) != settings.get(name)}
        )
    return changes


def check_scorable(workflow: Workflow, keys: Iterable[str]) -> None:
    """Raises a ConfigError for a key that has nothing to do with how a snapshot is scored."""
    sections = ("workflow", "loader") if isinstance(workflow, StandardWorkflow) else ("workflow",)
    for key in keys:
        if key.partition(".")[0] not in sections or key in ("loader.name", f"loader.{TARGET}"):
            raise ConfigError(f"{key} cannot change with mode=evaluate, which scores the snapshot as it is: leave it out")


def _changes(before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Returns the old and the new value of each key of the run that differs."""
    was, values = flattened(plain(before)), flattened(plain(now))
    return {
        key: (was.get(key), values.get(key))
        for key in was | values
        if not {key, key.partition(".")[0]} & LAUNCH_KEYS and was.get(key) != values.get(key)
    }


def snapshot_store(config: SnapshotterConfig, output_dir: str) -> Store:
    """Returns the store for snapshots: a database if the configuration names one, otherwise what is in `directory`."""
    if config.odbc:
        from runner.snapshots.odbc.odbc_store import OdbcStore

        store: Store = OdbcStore(config.odbc, config.table, config.create_table)
    else:
        store = store_in(config.directory or output_dir, config.permissions)
    return with_spool(store, config.spool, config.on_error, config.permissions)


def _configure_snapshotters(workflow: Workflow, config: SnapshotterConfig, output_dir: str) -> None:
    """Applies the configuration's settings to all snapshotters of a workflow, overriding those from its class."""
    settings = _snapshotter(config, output_dir)
    for snapshotter in snapshotters(workflow):
        snapshotter.configure(**settings)


def _tell_replaced(snapshotter: Snapshotter, config: SnapshotterConfig) -> None:
    """Says which settings of the class make way for defaults of the configuration: nobody may have meant that."""
    own, default = snapshotter.settings, SnapshotterSettings()
    names = [item.name for item in fields(SnapshotterSettings)]
    replaced = [
        f"{name}={getattr(own, name)}"
        for name in names
        if getattr(own, name) != getattr(config, name) == getattr(default, name)
    ]
    if not config.directory and not config.odbc and snapshotter.place != FOLDER:
        replaced.append(f"place {passwords.redact(snapshotter.place)}")
    if config.key is None and snapshotter.signed:
        replaced.append("key")
    if replaced:
        log.warning(
            "The defaults of the section snapshotter replace what the class gives %s: %s; set there what is to stay",
            repr(snapshotter.name),
            ", ".join(replaced),
        )


def _configure_records(workflow: Workflow, config: MetricsConfig) -> None:
    for records in records_of(workflow):
        records.configure(**asdict(config))


def _snapshotter(config: SnapshotterConfig, output_dir: str) -> dict[str, Any]:
    settings = {item.name: getattr(config, item.name) for item in fields(SnapshotterSettings)}
    return settings | {"store": snapshot_store(config, output_dir), "key": config.key}


def check_seed(seed: int | None) -> None:
    """Raises a ConfigError if not every random generator accepts the seed."""
    if seed is not None and not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed} must be between 0 and 2^32 - 1")
