"""Keys that were typed beside others without which they say nothing: what is typed counts, or is refused.

A conf file may set them for the runs that do use them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from runner.checks import choices
from runner.errors import ConfigError

_OF_RUNS = ("graph", "plotters", "report", "logger", "loggers")
"""Sections of what is drawn, written and logged of a run."""
_NEEDS = {
    "snapshotter.table": ("snapshotter.odbc", "snapshots go to no database"),
    "snapshotter.create_table": ("snapshotter.odbc", "snapshots go to no database"),
    "lr_adjuster.by_minibatch": ("lr_adjuster.policy", "the learning rates are fixed"),
    "rollback.lr_minus": ("rollback.fail_iterations", "nothing is ever rolled back"),
    "loader.split_seed": ("loader.validation_ratio", "nothing is split"),
    "snapshotter.max_overhead": ("snapshotter.at_most_lost", "no snapshot is taken for it"),
    "parallel.timeout": ("parallel.shards", "the run is one process"),
    "mcdnnic_parameters": ("mcdnnic_topology", "there are no layers that they are for"),
    "loggers": ("logger", "no tracker is told of the run"),
}
"""For each key or section the key that it needs, and what is the case without that."""
_NOTHING: dict[str, object] = {"loader.validation_ratio": 0, "lr_adjuster.policy": "fixed"}
"""The values of keys that do nothing, besides none and empty ones."""
_DISPLACED = {
    "loader.name": ("loader._target_", "the class is the loader"),
    "snapshotter.directory": ("snapshotter.odbc", "snapshots go to the database"),
}
"""For each key the one that takes its place, and what is the case then."""
_OF_SWEEPS = ("hydra.sweep.", "hydra/launcher", "hydra.launcher.", "hydra/sweeper", "hydra.sweeper.")
"""How settings of Hydra's begin that only a sweep has."""
_OF_ONE_RUN = "hydra.run.dir"
_SEARCHED = "hydra.searchpath"


def check_hydra(arguments: Collection[str], sweep: bool) -> None:
    """Checks the settings of Hydra's that were typed.

    Args:
        arguments: normalized ones.
        sweep: whether they are for a sweep.

    Raises:
        ConfigError: one is for a sweep and this is one run, or the other way round; it means nothing; or Hydra has none such.
    """
    sections = {item.name for item in fields(HydraConf)}
    keys = [argument.lstrip("+~").partition("=")[0] for argument in arguments]
    for key in keys:
        head, _, rest = key.partition(".")
        if head == "hydra" and rest and (section := rest.partition(".")[0]) not in sections:
            raise ConfigError(f"{key!r} is not a key of Hydra's; {choices(section, sections)}")
    if _SEARCHED in keys:
        raise ConfigError(f"{_SEARCHED} changes nothing: conf files are in conf/ of this folder, or are named by their path")
    if sweep and _OF_ONE_RUN in keys:
        raise ConfigError(f"{_OF_ONE_RUN} is for one run, and -m runs many: type hydra.sweep.dir")
    if wrong := next((key for key in keys if not sweep and key.startswith(_OF_SWEEPS)), None):
        raise ConfigError(f"{wrong} is for sweeps: veles-run -m")


def check_mode(node: DictConfig, typed: Collection[str]) -> None:
    """Checks the keys that were typed for a mode in which nothing runs.

    Raises:
        ConfigError: one is for a run.
    """
    for key in typed:
        if key.partition(".")[0] in _OF_RUNS and (value := OmegaConf.select(node, key)):
            text = str(value).lower() if isinstance(value, bool) else value
            raise ConfigError(f"{key}={text} is for a run, and with mode={node.mode.value} there is none: leave it out")


def check_empty(node: DictConfig, emptied: Collection[str]) -> None:
    """Checks the keys for which an empty mapping was typed.

    Raises:
        ConfigError: one has a mapping, into which nothing is merged.
    """
    for key in emptied:
        if OmegaConf.select(node, key, throw_on_resolution_failure=False):
            raise ConfigError(f"{key}={{}} changes nothing, since it is merged into what is there: ~{key} takes that away")


def check(node: DictConfig, typed: Collection[str]) -> None:
    """Checks the keys that were typed for a run.

    Raises:
        ConfigError: one would change nothing.
    """
    for key in typed:
        other, what = _DISPLACED.get(key, ("", ""))
        if other and OmegaConf.select(node, other) is not None and OmegaConf.select(node, key) is not None:
            raise ConfigError(f"{key} changes nothing beside {other}: {what}; leave one of them out")
        needed, why = next((need for name, need in _NEEDS.items() if f"{key}.".startswith(f"{name}.")), ("", ""))
        if needed and OmegaConf.select(node, needed, throw_on_resolution_failure=False) in (None, "", {}, _NOTHING.get(needed)):
            raise ConfigError(f"{key} changes nothing without {needed}: {why}; set {needed}, too, or leave it out")
        if key.partition(".")[0] == "restore" and not node.snapshot:
            raise ConfigError(
                f"{key} is for a snapshot that is restored, and there is none: name it with snapshot=, or leave it out"
            )
