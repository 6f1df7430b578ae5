"""What a loader's `load_data` returns, which may be the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runner.errors import ConfigError
from runner.nn.loading.samples import SPLIT_NAMES, Array, Samples, array_of

_MUST = "it must return {TRAIN: Samples(data, labels), VALIDATION: ...}"
"""What `load_data` must return, for messages."""


def checked(method: str, given: Any) -> dict[int, Samples]:
    """Returns the samples of each split that has some; lists and tensors become arrays.

    Args:
        method: the name of the method, for messages.
        given: what it has returned.

    Raises:
        ConfigError: it is not samples by split.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{method} returns {_called(given)}: {_MUST}")
    for key, value in given.items():
        if isinstance(key, bool) or key not in range(len(SPLIT_NAMES)):
            raise ConfigError(f"{method} returns something for {key!r}, which is none of TEST, VALIDATION and TRAIN: {_MUST}")
        if not isinstance(value, Samples):
            raise ConfigError(f"{method} returns {_called(value)} for the {SPLIT_NAMES[key]} set: {_MUST}")
    found = {int(key): _samples(method, SPLIT_NAMES[key], value) for key, value in given.items()}
    return {key: value for key, value in found.items() if len(value.data)}


def _called(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _samples(method: str, split: str, given: Samples) -> Samples:
    data, labels, targets = (
        None if value is None else _native(array_of(f"{method}: what it returns as {what} of the {split} set", value))
        for what, value in zip(("data", "labels", "targets"), given, strict=True)
    )
    if data is None or (data.ndim < 2 and data.shape != (0,)):
        found = "None" if data is None else f"of shape {data.shape}"
        raise ConfigError(f"{method}: the data of the {split} set are {found}; they must have the shape (samples, ...)")
    for what, array in (("labels", labels), ("targets", targets)):
        if array is not None and array.shape[:1] != data.shape[:1]:
            raise ConfigError(f"{method}: the {split} set has {len(data)} samples, and {what} of shape {array.shape}")
    return Samples(data, labels, targets)


def _native(array: Array) -> Array:
    """Returns an array in a type that torch has: in the order of bytes of this machine, and of at most 64 bits."""
    dtype = array.dtype.newbyteorder("=")
    return array.astype(np.float64 if dtype.itemsize > 8 else dtype, copy=False)
