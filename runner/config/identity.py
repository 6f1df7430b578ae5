"""What makes a run the run it is: its configuration in canonical form, and the digest of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Any

from runner import passwords
from runner.config.config import Config, plain
from runner.config.layers.schema import LAYER_CONFIGS

LIMITS = ("decision.fail_iterations", "decision.max_epochs")
"""Keys that say when a run ends, and nothing else. A workflow of the user's own has its `limit` besides."""

NOT_OF_THE_RUN = (
    *("mode", "graph", "snapshot", "data", "output", "restore", "device", "threads", "plotters", "report"),
    *("metrics", "logger", "loggers", "snapshotter", "sweep", "parallel.timeout"),
)
"""Sections and keys that may change whenever a run goes on: what the process does, where, and with which snapshots."""


@dataclass(frozen=True)
class Identity:
    """The configuration of a run in canonical form, in which two ways to write the same run are equal.

    Values are flat, by keys such as `layers.fc1.learning_rate`. Those that are the default are left out: whether they were
    written makes no difference, and neither does a key that a later version adds. The order of the layers is a value, too.
    Passwords are masked.
    """

    values: Mapping[str, Any]
    """The values by key."""

    @classmethod
    def of(cls, config: Config, name: str | None) -> Identity:
        """Returns the identity of a run.

        Args:
            config: the checked configuration; it is the resolved one that counts.
            name: the workflow's name.
        """
        sections = {key: value for key, value in plain(config).items() if key not in NOT_OF_THE_RUN}
        layers = sections.pop("layers") or {}
        values = {key: value for key, value in _leaves(sections) if _defaults().get(key) != value and key not in NOT_OF_THE_RUN}
        for layer, settings in layers.items():
            defaults = _layer_defaults(settings["type"])
            values |= {key: value for key, value in _leaves(settings, f"layers.{layer}.") if defaults.get(_last(key)) != value}
        return cls(values | {"layers": list(layers), "workflow.name": name})

    def digest(self, without: Collection[str]) -> str:
        """Returns the digest of the values, except those of some keys."""
        counted = {key: value for key, value in self.values.items() if key not in without}
        return hashlib.sha256(json.dumps(counted, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def differing(self, other: Identity, without: Collection[str] = ()) -> list[str]:
        """Returns the keys with other values, sorted."""
        keys = (self.values.keys() | other.values.keys()) - set(without)
        return sorted(key for key in keys if self.values.get(key) != other.values.get(key))


def _last(key: str) -> str:
    return key.split(".", 2)[2]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _canonical(f"{prefix}{name}", value)


def _canonical(key: str, value: Any) -> Any:
    """Returns a value as it counts: 1.0 is 1, and a password is not there."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return passwords.redact(f"{key}={value}").removeprefix(f"{key}=")
    if isinstance(value, list | tuple):
        return [_canonical(key, item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _canonical(f"{key}.{name}", item) for name, item in value.items()}
    return value


@cache
def _defaults() -> dict[str, Any]:
    return dict(_leaves(plain(Config(layers={}))))


@cache
def _layer_defaults(kind: str) -> dict[str, Any]:
    """Returns the defaults of a type of layer that are values, not made by a factory."""
    settings = {item.name: item.default for side in LAYER_CONFIGS[kind] for item in fields(side)}
    return dict(_leaves(settings))
