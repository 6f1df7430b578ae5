"""Columns of numbers, and what text counts as a number, in every reader alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT = 2**53
"""Up to here, float64 has every whole number."""


def parsed(texts: Sequence[str]) -> Floats | None:
    """Returns the numbers that texts stand for, or None if one is something else.

    Python also takes `1_000` and digits of other scripts, which no other reader of tables does.
    """
    joined = "".join(texts)
    if "_" in joined or not joined.isascii():
        return None
    try:
        return np.array(texts, np.float64)
    except ValueError:
        return None


def is_number(text: str) -> bool:
    """Whether a text stands for a number; NaN and infinity do."""
    return parsed([text]) is not None


def is_whole(text: str) -> bool:
    """Whether a text stands for a whole number, in digits alone."""
    return text.strip().lstrip("+-").isdecimal() and is_number(text)


def inexact(array: npt.NDArray[Any]) -> tuple[int, ...] | None:
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


def beyond_exact(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns which numbers are finite and so large that the text which they were read from may have had others."""
    found: npt.NDArray[np.bool_] = (np.abs(column) >= EXACT) & np.isfinite(column)
    return found


class Numbers:
    """A column of numbers that grows as it is read.

    Args:
        expected: how many there will be, about.
    """

    def __init__(self, expected: int) -> None:
        self._values = np.empty(expected)  # memory that is not written to is not taken
        self._count = 0

    def extend(self, values: Floats) -> None:
        """Appends numbers."""
        begin, self._count = self._count, self._count + len(values)
        if self._count > len(self._values):
            grown = np.empty(self._count * 3 // 2)
            grown[:begin] = self._values[:begin]
            self._values = grown
        self._values[begin : self._count] = values

    @property
    def values(self) -> Floats:
        """The numbers so far."""
        return self._values[: self._count]
