"""Filling containers."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

from runner.errors import SnapshotRefusedError

if TYPE_CHECKING:
    from runner.snapshots.unpickling.allowed.allowed import Allowed

_SEQUENCES = (list, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)


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
    following = iter(items)
    for key in following:
        if type(key) is not str:
            allowed.check_key_of(target, key)
        target[key] = next(following)


def add_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Adds to a set."""
    if type(target) is not set:
        raise SnapshotRefusedError(f"it adds to an object of type {type(target).__name__}")
    for item in items:
        if type(item) is not str:
            allowed.check_key_of(target, item)
    target.update(items)
