"""The tensors of a snapshot whose classes are gone: read from its pickle, of which nothing is made."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from runner.errors import SnapshotDamagedError
from runner.nn.inference.building import DTYPES
from runner.snapshots.format.header import Header
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.shelf.contents import Array, read_contents
from runner.snapshots.shelf.outline import Content


def read_tensors(blocks: Iterator[bytes], key: Key | None = None) -> tuple[Header, dict[str, Tensor]]:
    """Returns the header of a snapshot and its tensors, by `unit.attribute`; random states are none of them.

    Args:
        blocks: the encoded snapshot.
        key: it must be signed with; any snapshot will do without one.

    Raises:
        SnapshotDamagedError: it is damaged, or a tensor shows what is not there.
        SnapshotRefusedError: it is not signed with the key, or holds no pickle of protocol 5.
    """
    bytes_of: dict[int, bytes] = {}

    def keep(content: Content, pieces: Iterator[memoryview]) -> None:
        bytes_of[content.number] = b"".join(pieces)

    contents = read_contents(blocks, key, keep)
    found = {
        array.path: _tensor(array, bytes_of.get(array.content.number, array.content.begin))
        for unit in contents.units
        if unit.cls  # random states are of no unit
        for array in unit.arrays
        if array.strides is not None and array.dtype in DTYPES.values() and array.shape.count(0) == 0
    }
    return contents.header, found


def _tensor(array: Array, data: bytes) -> Tensor:
    dtype: torch.dtype = getattr(torch, array.dtype)
    strides = array.strides or ()
    whole = len(array.shape) == len(strides) and min((*array.shape, *strides, array.offset), default=0) >= 0
    last = array.offset + sum((size - 1) * step for size, step in zip(array.shape, strides, strict=False))
    # One that repeats its memory could be of any size.
    if not whole or (last + 1) * dtype.itemsize > len(data) or math.prod(array.shape) * dtype.itemsize > len(data):
        raise SnapshotDamagedError(f"its tensor {array.path!r} shows memory that it has not")
    flat = torch.frombuffer(bytearray(data[: len(data) // dtype.itemsize * dtype.itemsize]), dtype=dtype)
    return flat.as_strided(array.shape, strides, array.offset).clone(memory_format=torch.contiguous_format)
