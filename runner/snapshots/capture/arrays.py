"""Pickles numpy arrays so that shared memory stays shared: a view is written as an offset into the array that owns the memory.

numpy itself would copy each view, and one array would be restored as several. Arrays that own their memory are left to numpy,
which writes them as one buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner import pickled

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def reduce_view(array: Array) -> Any:
    """Returns how to recreate a view over its owner, or NotImplemented to leave the array to numpy."""
    owner = _owner(array)
    if owner is array or array.dtype.hasobject:
        return NotImplemented
    offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return pickled.view, (owner, array.dtype, offset, array.shape, array.strides, array.flags.writeable)


def _owner(array: Array) -> Array:
    """Returns the array at the end of a chain of views, or the array itself if that owner is not a plain block of memory."""
    owner: Any = array
    while type(owner.base) is type(array):
        owner = owner.base
    return owner if owner.flags.forc and not owner.dtype.hasobject else array
