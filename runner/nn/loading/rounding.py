"""What is lost where data get the precision of the run: different values that become one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from runner.nn.loading.samples import Array

STEPS = 1024
"""Steps of a float type that the range of a feature has to span; with fewer, most of what its values tell is rounded away."""
EXACT = 2**53
"""Up to here, float64 has every whole number."""


def inexact(array: Array) -> tuple[int, ...] | None:
    """Returns the index of the first whole number that float64 cannot hold, or None."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return None
    if int(array.max()) <= EXACT and int(array.min()) >= -EXACT:
        return None
    # The nearest one may be 2^63 or 2^64, which is beyond the type, and not the number either.
    limit = float(2 ** (63 if array.dtype.kind == "i" else 64))
    floats = array.astype(np.float64)
    wrong = (floats >= limit) | (np.where(floats >= limit, 0.0, floats).astype(array.dtype) != array)
    return tuple(map(int, np.argwhere(wrong)[0])) if wrong.any() else None


def merged_by_reader(column: Array) -> bool:
    """Whether a column of float64 has numbers so large, and so close together, that the file may have had others."""
    if column.dtype != np.float64 or not column.size:
        return False
    low, high = float(column.min()), float(column.max())
    largest = max(high, -low)
    return bool(EXACT <= largest < np.inf and high - low < STEPS * np.finfo(np.float64).eps * largest)


def merged(data: Array, mapped: Tensor, *, scaled: bool) -> tuple[tuple[int, ...], object, object] | None:
    """Returns the place of a feature whose values the precision cannot tell apart, and two of them that have become one.

    Args:
        data: the values, of shape (samples, ...).
        mapped: the same in the precision of the run.
        scaled: whether they were scaled; whole numbers that were not may be names of something, and must all stay apart.
    """
    narrower = data.dtype.itemsize > mapped.element_size() or (data.dtype.kind in "iu" and data.dtype.itemsize > 2)
    if len(data) < 2 or not data.size or not narrower:
        return None
    low, high = mapped.amin(0), mapped.amax(0)
    largest = torch.maximum(low.abs(), high.abs())
    suspect = high - low < STEPS * torch.finfo(mapped.dtype).eps * largest
    if data.dtype.kind in "iu" and not scaled:
        suspect |= largest >= 1 / torch.finfo(mapped.dtype).eps
    for place in map(tuple, suspect.nonzero().tolist()):
        before, first = np.unique(data[(slice(None), *place)], return_index=True)
        after = mapped[(slice(None), *place)].numpy()[first]
        if (same := np.flatnonzero(after[1:] == after[:-1])).size:
            return place, before[same[0]].item(), before[same[0] + 1].item()
    return None
