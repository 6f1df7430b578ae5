"""Makes workflows of configurations: the only place where the one becomes the other."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from runner.config import Config, SnapshotterConfig, flattened, plain
from runner.errors import ConfigError
from runner.nn import StandardWorkflow
from runner.snapshots.database import DEFAULT_SPOOL, with_spool
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.store import Store
from runner.snapshots.stores.file import FileStore

LAUNCH_KEYS = frozenset({"mode", "snapshot", "device", "threads", "restore"})
"""Keys that belong to a process, not to a run: they may differ each time."""


def build(config: Config, *, name: str, seed: int, output_dir: str) -> StandardWorkflow:
    """Builds the workflow that the configuration describes.

    Args:
        config: the checked configuration.
        name: the workflow's name, where the configuration gives none.
        seed: of everything random.
        output_dir: where snapshots go, where the configuration names no folder.
    """
    return StandardWorkflow(
        config.workflow.name or name,
        seed=seed,
        precision=config.precision.value,
        loader_name=config.loader.name,
        loader_config=config.loader.settings(),
        loss_function=config.loss_function.value,
        layers=config.layers,
        optimizer_config=config.optimizer,
        lr_adjuster_config={"policy": config.lr_adjuster.policy, "parameters": config.lr_adjuster.parameters()},
        decision_config=asdict(config.decision),
        rollback_config=asdict(config.rollback),
        snapshotter_config=_snapshotter(config.snapshotter, output_dir),
    )


def reconfigure(workflow: Any, before: Config, now: Config, output_dir: str) -> dict[str, tuple[Any, Any]]:
    """Brings a restored workflow to a changed configuration; returns for each changed key what it was and is.

    Raises:
        ConfigError: a key has changed that cannot change after construction.
    """
    was, values = flattened(plain(before)), flattened(plain(now))
    changes = {
        key: (was.get(key), values.get(key))
        for key in was | values
        if key.partition(".")[0] not in LAUNCH_KEYS and was.get(key) != values.get(key)
    }
    for key, (_, value) in changes.items():
        section = key.partition(".")[0]
        if section == "lr_adjuster":
            workflow.lr_adjuster.reconfigure(policy=now.lr_adjuster.policy, parameters=now.lr_adjuster.parameters())
        elif section != "snapshotter":
            workflow.override(key, value)
    if workflow.snapshotter is not None:
        workflow.snapshotter.configure(**_snapshotter(now.snapshotter, output_dir))
    return changes


def snapshot_store(config: SnapshotterConfig, output_dir: str) -> Store:
    """Returns where snapshots go: to a database if the configuration names one, else to a folder."""
    if config.odbc:
        from runner.snapshots.stores.odbc import OdbcStore

        store: Store = OdbcStore(config.odbc, config.table, config.create_table)
        spool = DEFAULT_SPOOL if config.spool is None else config.spool
    else:
        store, spool = FileStore(config.directory or output_dir), config.spool or ""
    return with_spool(store, spool, config.on_error)


def _snapshotter(config: SnapshotterConfig, output_dir: str) -> dict[str, Any]:
    settings = {item.name: getattr(config, item.name) for item in fields(SnapshotterSettings)}
    store = snapshot_store(config, output_dir)
    store.prepare()
    return settings | {"store": store}


def check_seed(seed: int | None) -> None:
    """Raises a ConfigError for a seed that not all generators take."""
    if seed is not None and not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed} must be between 0 and 2^32 - 1")
