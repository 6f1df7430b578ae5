"""Filling containers, and what may be a key in them."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from runner.errors import SnapshotRefusedError

if TYPE_CHECKING:
    from runner.snapshots.restoring.allowed.allowed import Allowed

KEY_NODES = 10_000
"""Objects in one key. The hash of a tuple is computed anew each time, through all that it holds."""
KEY_DEPTH = 200
"""How deep they may be nested; the hash recurses in C."""

_SCALARS = frozenset({str, int, float, bool, bytes, complex, type(None)})
_SEQUENCES = (list, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)


def append_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Appends to a list, a deque, or an instance of a class of the run's own."""
    if type(target) in _SEQUENCES:
        target.extend(items)
    elif type(target) in allowed.own and hasattr(type(target), "append"):
        for item in items:
            target.append(item)
    else:
        raise SnapshotRefusedError(f"it appends to an object of type {type(target).__name__}")


def set_items(target: Any, items: list[Any]) -> None:
    """Sets items, keys and values in turn, of a mapping that was checked."""
    following = iter(items)
    for key in following:
        if type(key) is not str and type(key) not in _SCALARS:
            check_key(key)
        target[key] = next(following)


def set_items_of(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Sets items of a dict, one of its standard kinds, or an instance of a class of the run's own."""
    kind = type(target)
    if kind not in _MAPPINGS and not (kind in allowed.own and hasattr(kind, "__setitem__")):
        raise SnapshotRefusedError(f"it sets an item of an object of type {kind.__name__}")
    set_items(target, items)


def add_items(allowed: Allowed, target: Any, items: list[Any]) -> None:
    """Adds to a set."""
    if type(target) is not set:
        raise SnapshotRefusedError(f"it adds to an object of type {type(target).__name__}")
    check_keys(items)
    target.update(items)


def check_keys(keys: Iterable[Any]) -> None:
    """Checks each key as `check_key` does."""
    for key in keys:
        if type(key) not in _SCALARS:
            check_key(key)


def check_key(key: Any) -> None:
    """Checks that the hash of a key takes bounded time: a few nested pairs can stand for 2^60 objects.

    Raises:
        SnapshotRefusedError: it holds too many objects, or nests them too deeply.
    """
    level, nodes = [key], 0
    for _ in range(KEY_DEPTH):
        parts = [held for item in level if type(item) not in _SCALARS for held in _parts(item)]
        nodes += sum(map(len, parts))
        if not parts:
            return
        if nodes > KEY_NODES:
            break
        level = [item for part in parts for item in part]
    raise SnapshotRefusedError(f"a key holds more than {KEY_NODES} objects, or nests more than {KEY_DEPTH}")


def _parts(item: Any) -> Iterable[Any]:
    """Returns the collections that the hash of an object may depend on."""
    if isinstance(item, tuple | frozenset):
        return (item,)
    hashing: object = type(item).__hash__
    if hashing is object.__hash__:
        return ()
    slots = [name for owner in type(item).__mro__ for name, value in vars(owner).items() if type(value) is MemberDescriptorType]
    values = [getattr(item, name, None) for name in slots] + list(getattr(item, "__dict__", {}).values())
    return (values,) if values else ()
