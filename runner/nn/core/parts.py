"""Samples of several parts: a module takes a tuple or a dict of tensors, and everything before it one row of numbers.

The values of the parts lie in the row one after the other. So data of several parts are shuffled, cut into minibatches and
shards, compared and kept as any others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from runner.checks import known
from runner.errors import SnapshotMismatchError

Part = tuple[str | int, tuple[int, ...], str]
"""The key of a part in a dict, or its place in a tuple; its shape in a sample; its kind, one of `KINDS`."""
Given = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""What a module takes."""

NUMBERS, WHOLE_NUMBERS, TRUTH_VALUES = "numbers", "whole numbers", "truth values"
KINDS: dict[str, torch.dtype | None] = {NUMBERS: None, WHOLE_NUMBERS: torch.int64, TRUTH_VALUES: torch.bool}
"""For each kind of part the type in which a module gets it; None for the precision of the run."""


def size(part: Part) -> int:
    """Returns how many values of a sample are of a part."""
    return math.prod(part[1])


def columns(parts: Sequence[Part]) -> Iterator[tuple[Part, slice]]:
    """Yields each part with the columns of a row that have its values."""
    begin = 0
    for part in parts:
        yield part, slice(begin, begin + size(part))
        begin += size(part)


def taken_apart(parts: Sequence[Part], rows: Tensor, numbers: torch.dtype | None = None) -> Given:
    """Returns rows of shape (samples, values) as the parts that they have, each of shape (samples, *shape).

    Args:
        parts: the parts; where there are none, the rows are returned as they are.
        rows: the rows.
        numbers: the type of parts that are numbers. Default: all parts keep the type of the rows.
    """
    if not parts:
        return rows
    found = {}
    for (name, shape, kind), which in columns(parts):
        values = rows[:, which].reshape(-1, *shape)
        # Kernels of torch may add in another order where values lie apart in memory.
        found[name] = values.to(numbers if numbers is None else KINDS[kind] or numbers).contiguous()
    return found if is_dict(parts) else tuple(found.values())  # type: ignore[return-value]


def put_together(parts: Sequence[Part], given: Any, dtype: torch.dtype) -> Tensor:
    """Returns parts of samples as rows of a type; in double precision, if that is one of whole numbers and a part has others.

    Raises:
        ValueError: the parts are others than these.
    """
    values = given if isinstance(given, Mapping) else dict(enumerate(given))
    if set(values) != {name for name, _, _ in parts}:
        raise ValueError(f"the samples have the parts {', '.join(map(str, values))}, and the network takes {told(parts)}")
    tensors = {name: torch.as_tensor(value) for name, value in values.items()}
    if not dtype.is_floating_point and any(value.is_floating_point() for value in tensors.values()):
        dtype = torch.float64
    rows = []
    for part in parts:
        value = tensors[part[0]]
        if tuple(value.shape[1:]) != part[1]:
            raise ValueError(
                f"the part {part[0]} has samples of shape {tuple(value.shape[1:])}, and the network takes {part[1]}"
            )
        rows.append(value.reshape(-1, size(part)).to(dtype))
    return torch.cat(rows, 1)


def is_dict(parts: Sequence[Part]) -> bool:
    """Whether the parts are those of a dict, not of a tuple."""
    return isinstance(parts[0][0], str)


def place(parts: Sequence[Part], column: int) -> str:
    """Returns where in a sample a value of a row stands, for messages."""
    part, which = next((part, which) for part, which in columns(parts) if column < which.stop)
    index = torch.unravel_index(torch.tensor(column - which.start), part[1]) if part[1] else ()
    return f"{part[0]}{[int(value) for value in index] or ''}"


def told(parts: Sequence[Part]) -> str:
    """Returns parts as text: `image 28 x 28, age 1`."""
    return ", ".join(f"{name} {' x '.join(map(str, shape)) or 1}" for name, shape, _ in parts)


def check_restored(where: str, parts: Sequence[Part], shape: tuple[int, ...]) -> None:
    """Raises a SnapshotMismatchError if parts from a snapshot are none, or not those of samples of a shape."""
    names = [name for name, _, _ in parts]
    fine = (
        (names == list(range(len(names))) or all(isinstance(name, str) for name in names))
        and len(set(names)) == len(names)
        and all(kind in KINDS and all(length > 0 for length in lengths) for _, lengths, kind in parts)
        and (sum(map(size, parts)),) == tuple(shape)
    )
    if parts and not fine:
        raise SnapshotMismatchError(f"{where}: the parts of a sample in the snapshot are none of samples of shape {shape}")


def chosen(result: Any, names: Sequence[str | int]) -> list[Tensor]:
    """Returns tensors of a tuple or a dict that a module has returned.

    Args:
        result: what it has returned.
        names: keys of the dict, or places in the tuple; where there are none, the result is to be a tensor.

    Raises:
        TypeError: the result is something else, or has no such tensor.
    """
    if not names:
        if not isinstance(result, Tensor):
            raise TypeError(f"returns {_what(result)} instead of a tensor{_hint(result)}")
        return [result]
    if isinstance(result, Tensor) or not isinstance(result, Mapping | tuple | list):
        raise TypeError(f"returns {_what(result)}, of which loss.output={list(names)} names a part: leave it out")
    values = result if isinstance(result, Mapping) else dict(enumerate(result))
    for name in names:
        if name not in values:
            raise TypeError(f"returns {_what(result)}, and loss.output={name!r} is none of them: {known(map(str, values))}")
        if not isinstance(values[name], Tensor):
            raise TypeError(f"returns a {type(values[name]).__name__} as {name}, and the loss takes tensors")
    return [values[name] for name in names]


def _what(result: object) -> str:
    if isinstance(result, Mapping):
        return f"a {type(result).__name__} of {', '.join(map(str, result))}"
    return f"a {type(result).__name__} of {len(result)}" if isinstance(result, tuple | list) else type(result).__name__


def _hint(result: object) -> str:
    names = (
        list(result) if isinstance(result, Mapping) else list(range(len(result))) if isinstance(result, tuple | list) else []
    )
    if not names:
        return ": forward() must end with one, such as return x"
    return (
        f": of the last layer, loss.output={names[0]} has the loss take that part, and"
        f" loss.output=[{', '.join(map(str, names))}] all of them"
    )
