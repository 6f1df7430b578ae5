"""Memory that arrays and tensors share: a snapshot would keep it once for each, and what is restored would come apart.

Views of one array stay views, and so do tensors over one storage (`arrays`, `tensors`). What is left is an array over the
memory of a tensor, or of a buffer that another array has, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    Array = npt.NDArray[Any]


class Block(NamedTuple):
    """Memory from one address to another, the array or the storage whose it is, and whether it may change."""

    begin: int
    end: int
    holder: Any
    changes: bool


def shared(arrays: Iterable[Array], storages: Iterable[torch.UntypedStorage]) -> tuple[Any, Any] | None:
    """Returns an array, and the array or storage with which it shares memory that may change; None if none does."""
    blocks = [_of_array(array) for array in arrays if array.size]
    if not blocks:
        return None
    of_storages = (storage for storage in storages if storage.device.type == "cpu" and storage.nbytes())
    blocks += [Block(storage.data_ptr(), storage.data_ptr() + storage.nbytes(), storage, True) for storage in of_storages]
    blocks.sort(key=lambda block: block[:2])
    for one, other in pairwise(blocks):
        if other.begin < one.end and (one.changes or other.changes):
            return one.holder, other.holder
    return None


def _of_array(array: Array) -> Block:
    begin = array.__array_interface__["data"][0]
    reaches = [(count - 1) * step for count, step in zip(array.shape, array.strides, strict=True)]
    low, high = sum(reach for reach in reaches if reach < 0), sum(reach for reach in reaches if reach > 0)
    return Block(begin + low, begin + high + array.itemsize, array, array.flags.writeable)
