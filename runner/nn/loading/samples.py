"""Samples, their classes, and the fingerprint by which a data set is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runner.checks import first_line
from runner.errors import ConfigError
from runner.nn.core.random_stream import Stream

TEST, VALIDATION, TRAIN = range(3)
SPLIT_NAMES = ("test", "validation", "train")

Array = npt.NDArray[np.generic]


class Samples(NamedTuple):
    """Samples of one class.

    Attributes:
        data: of shape (samples, ...).
        labels: integers of shape (samples,), for classification; None where there are none.
        targets: what the output shall be, of shape (samples, ...); None where it is the data themselves, or nothing is.
    """

    data: Array
    labels: Array | None = None
    targets: Array | None = None

    def taken(self, which: slice | Array) -> Samples:
        """Returns some of the samples."""
        labels, targets = (None if array is None else array[which] for array in self[1:])
        return Samples(self.data[which], labels, targets)

    def check(self, split: str) -> None:
        """Raises a ConfigError if samples have no values, or if a value is NaN or infinite."""
        if 0 in self.data.shape[1:]:
            raise ConfigError(f"the {split} samples have shape {self.data.shape[1:]}: there are no values in them")
        for what, array in (("", self.data), (" target", self.targets)):
            if array is not None and (index := first_not_finite(array)) is not None:
                place = f" at {list(index[1:])}" if len(index) > 1 else ""
                raise ConfigError(
                    f"the {split} sample {index[0]} (counted from 0) has the{what} value {array[index]}{place}: all values must"
                    " be finite"
                )


def array_of(where: str, value: Any) -> Array:
    """Returns what the user's own code gives as an array of numbers.

    Args:
        where: what it is, for messages.
        value: a number, a list, an array, a tensor, or an image.

    Raises:
        ConfigError: it is none of these.
    """
    if getattr(value, "mode", None) == "P":
        raise ConfigError(f"{where} is an image with a palette: convert it, as by convert('RGB')")
    if np.ma.is_masked(value):
        raise ConfigError(f"{where} is an array of which values are masked: fill them")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{where} is no array: {first_line(error)}") from error
    if array.dtype.kind not in "biuf":
        fault = "beyond 64 bits" if isinstance(value, int) else "not a number, nor an array or a tensor of numbers"
        raise ConfigError(f"{where} is {type(value).__name__}, and {fault}")
    return array


def first_not_finite(array: Array) -> tuple[int, ...] | None:
    """Returns the index of the first value that is NaN or infinite, or None."""
    # The limits are NaN or infinite if a value is, and take no memory.
    if array.dtype.kind != "f" or not array.size or np.isfinite([array.min(), array.max()]).all():
        return None
    for number, row in enumerate(array):
        if not (finite := np.isfinite(row)).all():
            return number, *map(int, np.unravel_index(int(np.argmin(finite)), row.shape))
    return None


def split(samples: Samples, ratio: float, seed: int) -> tuple[Samples, Samples]:
    """Returns a training and a validation set, of which the latter has a share of the samples, drawn at random.

    Both keep the order of the samples; the same samples, ratio and seed give the same sets.

    Raises:
        ConfigError: one of the sets would be empty.
    """
    size = len(samples.data)
    count = round(size * ratio)
    if not 0 < count < size:
        raise ConfigError(f"loader.validation_ratio={ratio} of {size} samples leaves nothing to train on, or to validate on")
    order = Stream(seed, "validation split").permutation(size).numpy()
    return samples.taken(np.sort(order[count:])), samples.taken(np.sort(order[:count]))


def fingerprint(samples: Mapping[int, Samples]) -> str:
    """Returns a digest of a data set: values, types, shapes, and which sample is of which class."""
    digest = hashlib.sha256()
    for key in sorted(samples):
        for array in samples[key]:
            if array is not None:
                digest.update(f"{key} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
