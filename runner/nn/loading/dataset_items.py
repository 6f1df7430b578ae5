"""The items of a map-style data set, put together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from runner import places
from runner.datasets.cell_numbers import inexact
from runner.errors import ConfigError
from runner.memory import available
from runner.nn.core import parts
from runner.nn.core.parts import Part
from runner.nn.loading.in_memory_data import log
from runner.nn.loading.samples import Array, Samples, array_of, first_not_finite

SLOW = 10.0
"""Seconds from which loading is worth a line in the log."""
ITEM = 100
"""Bytes that a small object takes at least, with its place in a list."""


class Items(NamedTuple):
    """What a data set has.

    Attributes:
        samples: the samples and their labels or targets.
        parts: those of a sample, whose values lie side by side in a row; empty if a sample is one array.
    """

    samples: Samples
    parts: list[Part]


def items(key: str, cls: type, arguments: dict[str, Any]) -> Items:
    """Returns all items of a data set.

    Args:
        key: what names the class, for messages.
        cls: the class.
        arguments: those of its constructor.

    Raises:
        ConfigError: the class fails, its items do not fit together, or there is no memory for them.
    """
    began = time.monotonic()
    found: list[Any] = []
    try:
        dataset = cls(**arguments)
        count = len(dataset)
        for index in range(count):
            found.append(_kept(dataset[index]))
            if index == 0:
                _check_memory(key, found, count)
    except ConfigError:
        raise
    except Exception as error:  # the user's own class may fail in any way
        where = f" at item {len(found)} (counted from 0)" if found else ""
        raise ConfigError(f"{key}: {cls.__qualname__} fails{where}: {places.told(error)}") from error
    samples, *second = zip(*_pairs(f"{key}: {cls.__qualname__}", found), strict=True)
    rows, kinds = _rows(key, samples) if _have_parts(key, samples) else (_stacked(key, "sample", samples), [])
    if (seconds := time.monotonic() - began) > SLOW:
        log.info("%s: %d items (%.0f MB) loaded in %.0f s", key, len(rows), rows.nbytes / 1e6, seconds)
    rows = rows.reshape(len(rows), -1) if rows.ndim == 1 else rows
    if not second:
        return Items(Samples(rows), kinds)
    labels = _stacked(key, "label", second[0])
    # A whole number is a class, anything else is what the output shall be.
    is_class = labels.ndim == 1 and labels.dtype.kind in "iu"
    return Items(Samples(rows, labels) if is_class else Samples(rows, None, labels), kinds)


def _pairs(where: str, found: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Returns each item as a pair (sample, label), or as a sample alone.

    Raises:
        ConfigError: there are no items, one is neither, or some have a label and others have none.
    """
    if not found:
        raise ConfigError(f"{where} has no items: its length is 0")
    pairs = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in found]
    for index, pair in enumerate(pairs):
        if len(pair) not in (1, 2) or (len(pair) == 1 and pair[0] is None):
            told = f"has {len(pair)} parts" if len(pair) != 1 else "is None"
            raise ConfigError(
                f"{where} must have items (sample, label), or samples alone, and item {index} (counted from 0) {told}; a sample"
                " of several parts is a tuple or a dict: ((image, table), label)"
            )
        if len(pair) != len(pairs[0]):
            label = ["has a label", "has none"]
            first, second = label if len(pairs[0]) == 2 else label[::-1]
            raise ConfigError(f"{where}: item 0 {first}, and item {index} (counted from 0) {second}")
    return pairs


def _have_parts(key: str, samples: Sequence[Any]) -> bool:
    """Whether samples have several parts; raises a ConfigError if only some have."""
    found = [_has_parts(sample) for sample in samples]
    if (odd := next((index for index, has in enumerate(found) if has != found[0]), None)) is not None:
        first, second = ("some", "has no parts") if found[0] else ("none", "has parts")
        raise ConfigError(f"{key}: the sample of item {odd} {second}, and that of item 0 has {first}")
    return found[0]


def _has_parts(sample: Any) -> bool:
    """Whether a sample has several parts: a tuple of numbers is an array."""
    return isinstance(sample, Mapping) or (
        isinstance(sample, tuple) and any(isinstance(part, torch.Tensor | np.ndarray) for part in sample)
    )


def _rows(key: str, samples: Sequence[Any]) -> tuple[Array, list[Part]]:
    """Returns samples of several parts as rows, and what the parts are.

    Raises:
        ConfigError: a sample has others than the first, or a part is nothing that can stand in a row.
    """
    named = [sample if isinstance(sample, Mapping) else dict(enumerate(sample)) for sample in samples]
    names = list(named[0])
    if not names or not (names == list(range(len(names))) or all(isinstance(name, str) for name in names)):
        raise ConfigError(f"{key}: the sample of item 0 has parts of the names {names}: each needs a text")
    if (other := next((index for index, sample in enumerate(named) if list(sample) != names), None)) is not None:
        raise ConfigError(f"{key}: the sample of item {other} has the parts {list(named[other])}, that of item 0 {names}")
    arrays = {name: _stacked(key, f"part {name}", [sample[name] for sample in named]) for name in names}
    for name, array in arrays.items():
        if not array.size:
            raise ConfigError(f"{key}: the part {name} has no values: its shape is {array.shape[1:]}")
        if (index := first_not_finite(array)) is not None:
            raise ConfigError(f"{key}: the part {name} of item {index[0]} has the value {array[index]}: all must be finite")
    kinds: list[Part] = [(name, array.shape[1:], _kind(array)) for name, array in arrays.items()]
    dtype = np.result_type(*arrays.values())
    for name, array in arrays.items():
        if dtype.kind == "f" and (index := inexact(array)) is not None:
            raise ConfigError(
                f"{key}: the part {name} of item {index[0]} has the value {array[index]}, which float64 cannot hold"
            )
    return np.concatenate([array.reshape(len(array), -1).astype(dtype) for array in arrays.values()], 1), kinds


def _kind(array: Array) -> str:
    if array.dtype.kind == "b":
        return parts.TRUTH_VALUES
    is_image = array.dtype == np.uint8 and array.ndim > 2
    return parts.WHOLE_NUMBERS if array.dtype.kind in "iu" and not is_image else parts.NUMBERS


def _kept(item: Any) -> Any:
    """Returns an item with arrays of its own: a data set may fill the same ones again for the next item."""
    if isinstance(item, tuple | list):
        kept = map(_kept, item)
        return tuple(kept) if isinstance(item, tuple) else list(kept)
    if isinstance(item, Mapping):
        return {name: _kept(part) for name, part in item.items()}
    if isinstance(item, torch.Tensor):
        return item.clone()
    return item.copy() if isinstance(item, np.ndarray) else item


def _check_memory(key: str, first: list[Any], count: int) -> None:
    """Checks that as many items as a data set says it has would fit into memory, before it is filled with them."""
    needed = count * sum(
        max(getattr(part, "nbytes", 0), ITEM)
        for item in first
        for part in _leaves(tuple(item) if isinstance(item, list) else item)
    )
    if needed > (free := available()):
        raise ConfigError(f"{key} has {count} items, which take {needed / 1e9:.0f} GB of memory; {free / 1e9:.0f} GB are free")


def _leaves(item: Any) -> list[Any]:
    """Returns what stands in tuples and dicts."""
    if isinstance(item, Mapping):
        item = tuple(item.values())
    return [leaf for part in item for leaf in _leaves(part)] if isinstance(item, tuple) else [item]


def _stacked(key: str, what: str, values: Sequence[Any]) -> Array:
    arrays = [array_of(f"{key}: the {what} of item {index}", value) for index, value in enumerate(values)]
    shape = arrays[0].shape
    if (other := next((index for index, array in enumerate(arrays) if array.shape != shape), None)) is not None:
        raise ConfigError(
            f"{key}: the {what}s cannot be put together: that of item {other} has the shape {arrays[other].shape}, that of"
            f" item 0 {shape}"
        )
    array = np.stack(arrays)
    return array.astype(np.float64) if array.dtype.itemsize > 8 else array
