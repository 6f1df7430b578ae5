"""What is lost where data get the precision of the run: different values that become one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from runner.nn.loading.samples import Array

STEPS = 1024
"""Steps of a float type that the range of a feature has to span; with fewer, most of what its values tell is rounded away."""


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
