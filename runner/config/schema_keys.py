"""What the schema says of a key that is typed: whether its value is a text, and whether other keys can be below it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from hydra.conf import HydraConf

from runner.config.config import Config, WorkflowConfig
from runner.config.layers.schema import LAYER_CONFIGS
from runner.config.loading import COLUMN_KEYS
from runner.errors import ConfigError
from runner.targets import TARGET

_BESIDE = {"hydra": HydraConf, "conf": str, **{f"workflow.{item.name}": str for item in fields(WorkflowConfig)}}
"""Types of keys that the schema itself does not have."""


class Kind(Enum):
    """What the value of a key is."""

    text = "text"
    """A text; or a list, or a mapping, of texts."""
    column = "column"
    """The name or the number of a column, or a list of them."""
    other = "other"
    """Anything else, or nothing that the schema knows."""


@cache
def kind(key: str) -> Kind:
    """Returns what the value of a key such as `snapshotter.prefix` is.

    Raises:
        ConfigError: the key is below another one, which has a value and no keys.
    """
    hint: Any = Config
    names = key.split(".")
    for depth, name in enumerate(names):
        above = ".".join(names[:depth])
        if not _has_keys(hint) or above in COLUMN_KEYS:
            what, example = ("a list", "[...]") if get_origin(hint) is list else ("a single value", "...")
            raise ConfigError(f"{key} is not a key: {above} is {what}, and has no keys below it: {above}={example}")
        hint = _BESIDE.get(".".join(names[: depth + 1]), _below(hint, name))
    if key in COLUMN_KEYS:
        return Kind.column
    return Kind.text if names[-1] == TARGET or str in (hint, *get_args(hint)[-1:]) else Kind.other


def is_section(key: str) -> bool:
    """Whether a key has keys below it that the schema lists."""
    return key in _sections()


@cache
def _sections() -> frozenset[str]:
    return frozenset(key[:at] for key in _keys_of(Config, "") for at, character in enumerate(key) if character == ".")


def _has_keys(hint: Any) -> bool:
    return hint is Any or is_dataclass(hint) or (get_origin(hint) or hint) is dict


def _below(hint: Any, name: str) -> Any:
    """Returns the type of a key in a section, without None."""
    if not is_dataclass(hint):
        return get_args(hint)[1] if get_args(hint) else Any
    found = _hints(cast(type, hint)).get(name, Any)
    options = [option for option in get_args(found) if option is not types.NoneType]
    is_optional = get_origin(found) in (Union, types.UnionType) and len(options) == 1
    return options[0] if is_optional else found


@cache
def _hints(section: type) -> dict[str, Any]:
    return get_type_hints(section)


def all_keys() -> list[str]:
    """Returns all keys of the schema, those of a layer as `layers.NAME.learning_rate`."""
    sides = [side for both in LAYER_CONFIGS.values() for side in both]
    return [*_keys_of(Config, ""), *dict.fromkeys(f"layers.NAME.{item.name}" for side in sides for item in fields(side))]


def _keys_of(section: type, prefix: str) -> Iterator[str]:
    for name, hint in _hints(section).items():
        if is_dataclass(hint):
            yield from _keys_of(cast(type, hint), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
