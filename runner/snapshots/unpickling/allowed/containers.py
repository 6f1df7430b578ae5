"""Filling containers."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

from runner.errors import SnapshotRefusedError
from runner.snapshots.unpickling.allowed.key_budget import SMALL

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

_SEQUENCES = (list, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_CHUNK = 1_000
"""Items after which the time is looked at."""


def append_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Appends to a list, a deque, or an instance of a declared class."""
    if type(target) in _SEQUENCES:
        target.extend(items)
    elif type(target) in allowed.declared and hasattr(type(target), "append"):
        for item in items:
            target.append(item)
    else:
        raise SnapshotRefusedError(f"it appends to an object of type {type(target).__name__}")


def set_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Sets items, keys and values in turn, of a dict, one of its standard kinds, or an instance of a declared class."""
    kind = type(target)
    if kind not in _MAPPINGS and not (kind in allowed.declared and hasattr(kind, "__setitem__")):
        raise SnapshotRefusedError(f"it sets an item of an object of type {kind.__name__}")
    if kind not in _MAPPINGS or len(target) + len(items) <= SMALL:
        _set_items(allowed, target, items)
        return
    for begin in range(0, len(items), 2 * _CHUNK):
        with allowed.keys.timed(_CHUNK):
            _set_items(allowed, target, items[begin : begin + 2 * _CHUNK])


def _set_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    following = iter(items)
    for key in following:
        if type(key) is not str:
            allowed.keys.check_of(target, key)
        target[key] = next(following)


def add_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Adds to a set."""
    if type(target) is not set:
        raise SnapshotRefusedError(f"it adds to an object of type {type(target).__name__}")
    _check_items(allowed, target, items)
    _add_items(allowed, target, items)


def check_set(allowed: Allowed, items: list[Any]) -> None:
    """Checks items of which a set is about to be made at once, which nothing can interrupt."""
    _check_items(allowed, items, items)
    if len(items) > SMALL:
        _add_items(allowed, set(), items)


def _check_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    for item in items:
        if type(item) is not str:
            allowed.keys.check_of(target, item)


def _add_items(allowed: Allowed, target: set[Any], items: list[Any]) -> None:
    for begin in range(0, len(items), _CHUNK):
        with allowed.keys.timed(_CHUNK):
            target.update(items[begin : begin + _CHUNK])
