"""What of a snapshot's own configuration a resumed run obeys: no place, no key and no reference that this call does not name.

A configuration comes with the snapshot, from whoever made it. Numbers and names in it describe the run. But what the run writes
to, connects to, signs with, or reads from the environment must be in the conf file of this call, on its command line, or
implied by the snapshot that was named.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import shell
from runner.errors import ConfigError
from runner.flat import flattened, is_reference
from runner.snapshots.restoring.grants import folder_is_granted
from runner.snapshots.stores import is_url
from runner.snapshots.stores.file_system import no_wider, read_mode
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME, Location

PROCESS_KEYS = ("mode", "graph", "snapshot", "data", "output", "logger", "loggers", "restore")
"""Keys of a process, which a snapshot's configuration has no say in."""
PLACES = {
    "snapshotter.directory": "names a folder to write to",
    "snapshotter.spool": "names a folder to write to",
    "snapshotter.odbc": "names a database to connect to",
    "snapshotter.table": "names a table to write to",
    "snapshotter.key": "names a key to sign with",
    "snapshotter.mode": "lets more people into its files than the umask does",
}
"""Keys that say where a run writes and connects, what it signs with, and who may read it."""

_REFERENCE = re.compile(r"(?s)\$\{.*:")
"""An interpolation that asks a resolver, such as `${oc.env:NAME}`; one without a colon names another key."""
_TYPABLE = re.compile(r"[\w<>@*+/-]+")
"""A name that is part of a key as it is typed."""


def obeyed(stored: Mapping[str, Any], call: DictConfig, typed: Sequence[str], location: str) -> dict[str, Any]:
    """Returns what a run takes of a snapshot's configuration, before anything in it is resolved.

    Args:
        stored: the configuration, as the snapshot's header has it.
        call: the configuration that this call has without the snapshot: its conf file, and what was typed.
        typed: the keys that were typed.
        location: the snapshot, as the call names it.

    Raises:
        ConfigError: a value refers to the environment, and this call has neither the same reference nor another value.
    """
    result = {key: copy.deepcopy(value) for key, value in stored.items() if key not in PROCESS_KEYS}
    named = flat(call)
    # What this call reads from the environment is not to be had under another key either.
    refers = is_reference if any(map(_refers, named.values())) else _refers
    for path, value in _leaves(_by_number(result)):
        key = ".".join(path)
        if not refers(value) or named.get(key) == value or (key == "snapshotter.odbc" and _is_in(value, location)):
            continue
        if not any(key == other or key.startswith(f"{other}.") for other in typed):
            raise _unconfirmed(key, value, "reads the environment")
        _take_away(result, path)
    return result


def check_places(now: DictConfig, call: DictConfig, location: str) -> None:
    """Checks that a resumed run writes, connects and signs only as this call says.

    Args:
        now: the snapshot's configuration, with what was typed over it.
        call: as for `obeyed`.
        location: the snapshot, as the call names it, or where it was found.

    Raises:
        ConfigError: a place or a key is named by the snapshot alone.
    """
    values, named = flat(now), flat(call)
    for key, what in PLACES.items():
        value = values.get(key)
        if value and value != named.get(key) and not _is_implied(key, value, values, named, location):
            raise _unconfirmed(key, value, what)


def _refers(value: Any) -> bool:
    """Whether a value asks a resolver, such as that for the environment."""
    return isinstance(value, str) and _REFERENCE.search(value) is not None


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields each value with the names that lead to it: two of them may make the same key, `{"a.b": 1, "a": {"b": 2}}`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _take_away(config: dict[str, Any], path: tuple[str, ...]) -> None:
    """Takes a value away, or the list that it is in, which another value may have taken along."""
    *sections, name = path
    for section in sections:
        if not isinstance(config.get(section), dict):
            config.pop(section, None)
            return
        config = config[section]
    config.pop(name, None)


def flat(node: DictConfig) -> dict[str, Any]:
    """Returns a configuration with a key for each value, as it was written: no reference is resolved."""
    container: Any = OmegaConf.to_container(node, resolve=False, enum_to_str=True)
    return flattened(_by_number(container))


def _by_number(value: Any) -> Any:
    """Returns nested values with lists as mappings, so that each value has a key."""
    if isinstance(value, list):
        value = {str(number): item for number, item in enumerate(value)}
    if isinstance(value, Mapping):
        return {key: _by_number(item) for key, item in value.items()}
    return value


def _is_implied(key: str, value: Any, values: Mapping[str, Any], named: Mapping[str, Any], location: str) -> bool:
    """Whether the snapshot that was named, or the key that it was checked with, names this as well."""
    place = Location.parse(location) if location.startswith(SCHEME) else None
    match key:
        case "snapshotter.directory" if is_url(str(value)):
            return str(value).rstrip("/") == location.rpartition("/")[0]
        case "snapshotter.directory" | "snapshotter.spool":
            return folder_is_granted(str(value), location if place else location.rpartition("/")[0] or ".")
        case "snapshotter.odbc":
            return _is_in(value, location)
        case "snapshotter.table":
            return not values.get("snapshotter.odbc") or value == (place.table if place else DEFAULT_TABLE)
        case "snapshotter.mode":
            return read_mode(value) == no_wider(read_mode(value))
        case "snapshotter.key":
            return bool(value == named.get("restore.key"))
        case _:
            return False


def _is_in(odbc: str, location: str) -> bool:
    """Whether a location names the same database, in the same words."""
    return location.startswith(SCHEME) and Location.parse(location).odbc == odbc


def _unconfirmed(key: str, value: Any, what: str) -> ConfigError:
    if not all(map(_TYPABLE.fullmatch, key.split("."))):  # the shell and Hydra would read something else in it
        return ConfigError(f"the snapshot's own configuration {what}, under the key {key[:200]!r}, which nobody can type")
    return ConfigError(
        f"the snapshot's own configuration {what}, and nothing in this call says the same: confirm it with"
        f" {key}={shell.quote(str(value))}, or choose otherwise with {key}=..."
    )
