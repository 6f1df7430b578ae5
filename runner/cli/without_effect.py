"""Keys that were typed beside others without which they say nothing: what is typed counts, or is refused.

A conf file may set them for the runs that do use them.
"""

from __future__ import annotations

from collections.abc import Collection

from omegaconf import DictConfig, OmegaConf

from runner.errors import ConfigError

_OF_RUNS = ("graph", "plotters", "report", "logger", "loggers")
"""Sections of what is drawn, written and logged of a run."""
_NEEDS = {
    "snapshotter.table": ("snapshotter.odbc", "snapshots go to no database"),
    "snapshotter.create_table": ("snapshotter.odbc", "snapshots go to no database"),
    "rollback.lr_minus": ("rollback.fail_iterations", "nothing is ever rolled back"),
    "loader.split_seed": ("loader.validation_ratio", "nothing is split"),
    "parallel.timeout": ("parallel.shards", "the run is one process"),
}
"""For each key the one that it needs, and what is the case without it."""


def check_mode(node: DictConfig, typed: Collection[str]) -> None:
    """Checks the keys that were typed for a mode in which nothing runs.

    Raises:
        ConfigError: one is for a run.
    """
    for key in typed:
        if key.partition(".")[0] in _OF_RUNS and (value := OmegaConf.select(node, key)):
            text = str(value).lower() if isinstance(value, bool) else value
            raise ConfigError(f"{key}={text} is for a run, and with mode={node.mode.value} there is none: leave it out")


def check(node: DictConfig, typed: Collection[str]) -> None:
    """Checks the keys that were typed for a fresh run.

    Raises:
        ConfigError: one would change nothing.
    """
    for key in typed:
        needed, why = _NEEDS.get(key, ("", ""))
        if needed and not OmegaConf.select(node, needed, throw_on_resolution_failure=False):
            raise ConfigError(f"{key} changes nothing without {needed}: {why}; set {needed}, too, or leave it out")
        if key.partition(".")[0] == "restore" and not node.snapshot:
            raise ConfigError(
                f"{key} is for a snapshot that is restored, and there is none: name it with snapshot=, or leave it out"
            )
