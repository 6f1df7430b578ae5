"""Measures which units hold most of a state, without pickling it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from runner.graph import Pickleable, Unit, Workflow
from runner.graph.links import Link


def largest_units(workflow: Workflow, count: int) -> list[tuple[str, int]]:
    """Returns the names of the units with the largest states, each with its approximate size in bytes.

    Only tensors, arrays and byte strings are counted. Shared storage is counted once, for the first unit that has it.
    """
    seen: dict[int, Any] = {}  # holds the objects themselves: the id of a freed one could be reused
    units = (unit for unit in workflow.units if not isinstance(unit, Workflow))
    sizes = [(unit.name, _size(unit.__getstate__(), seen)) for unit in units]
    return sorted(sizes, key=lambda item: item[1], reverse=True)[:count]


def _size(value: Any, seen: dict[int, Any]) -> int:
    stack, total = [value], 0
    while stack:
        item = stack.pop()
        storage = _storage(item)
        key = id(item) if storage is None else storage[0]
        if key in seen or isinstance(item, Unit | Link):
            continue
        seen[key] = item
        if storage is not None:
            total += storage[1]
        else:
            stack.extend(_parts(item))
    return total


def _storage(item: Any) -> tuple[int, int] | None:
    """Returns the identity and size of the memory of a tensor, an array or a byte string; None for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and isinstance(item, torch.Tensor):
        storage = item.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    if numpy and isinstance(item, numpy.ndarray):
        return id(item), item.nbytes
    if isinstance(item, bytes | bytearray):
        return id(item), len(item)
    return None


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, Mapping):
        return item.values()
    if isinstance(item, list | tuple | set | frozenset):
        return item
    if isinstance(item, Pickleable):
        return item.__getstate__().values()
    return vars(item).values() if hasattr(item, "__dict__") and not isinstance(item, type) else ()
