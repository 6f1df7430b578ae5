"""Columns of numbers, and what text counts as a number, in every reader alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
