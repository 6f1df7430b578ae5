"""Data in the precision of a run: nothing that they tell apart may become equal, or too large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from runner.checks import LARGEST_INTEGER
from runner.datasets.cell_numbers import inexact
from runner.errors import ConfigError
from runner.nn.loading import rounding
from runner.nn.loading.normalizers import UNCHANGED, Normalizer, normalized
from runner.nn.loading.samples import Array, first_not_finite

NameOf = Callable[[tuple[int, ...]], str]
"""Returns which value of a sample is at a place, for messages."""


def in_precision(
    data: Array,
    normalizer: Normalizer,
    dtype: torch.dtype,
    precision: torch.dtype,
    split: str,
    name_of: NameOf,
    *,
    targets: bool = False,
) -> Tensor:
    """Returns normalised data.

    Args:
        data: of shape (samples, ...).
        normalizer: what they are normalised by.
        dtype: the type of the result; one of whole numbers leaves them as they are.
        precision: that of the run, for messages.
        split: the name of the set that they are from, for messages.
        name_of: names a value, for messages.
        targets: whether they are targets.

    Raises:
        ConfigError: a value is beyond what the precision can hold, or it makes one of different ones.
    """
    if not dtype.is_floating_point:
        if data.dtype == np.uint64 and data.max() > LARGEST_INTEGER:
            raise ConfigError(f"the {split} samples have the value {data.max()}, which is beyond 2^63 - 1")
        return torch.from_numpy(data.astype(np.int64))
    if (index := inexact(data)) is not None:
        raise ConfigError(
            f"the {split} sample {index[0]} (counted from 0) has the value {data[index]}"
            f"{name_of(index[1:])}, which float64 cannot hold: whole numbers are exact up to 2^53"
        )
    result = normalized(data, normalizer, dtype)
    name = str(precision).removeprefix("torch.")
    if (index := first_not_finite(result.numpy())) is not None:
        raise ConfigError(
            f"the {split} sample {index[0]} (counted from 0) has the value {data[index]}, which is too large for"
            f" {name}: scale it, or set precision=float64"
        )
    scaled = any(isinstance(factor, Tensor) for factor in normalizer) or normalizer != UNCHANGED
    if found := rounding.merged(data, result, scaled=scaled):
        place, low, high = found
        raise ConfigError(
            f"the {split} {'targets' if targets else 'samples'} have the values {low} and"
            f" {high}{name_of(place)}, which {name} cannot tell apart:"
            " set precision=float64, or scale them"
        )
    return result
