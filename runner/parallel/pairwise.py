"""Sums in the order of a binary tree: pairs of neighbors, then pairs of pairs, and so on.

The tree is aligned: of a power of two of rows, each of 1, 2, 4, ... processes has a whole subtree. So the additions are the
same, whoever does them, and so are the bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pairwise(rows: Sequence[Tensor]) -> Tensor:
    """Returns the sum of a power of two of rows, which it overwrites."""
    while len(rows) > 1:
        rows = [left.add_(right) for left, right in zip(rows[::2], rows[1::2], strict=True)]
    return rows[0]


class PairwiseSum:
    """Sums rows of one length as they come, and keeps only one row for each level of the tree.

    Args:
        length: numbers in a row.
        dtype, device: of the rows.
    """

    def __init__(self, length: int, dtype: torch.dtype, device: torch.device) -> None:
        self._length, self._dtype, self._device = length, dtype, device
        self._free: list[Tensor] = []
        self._levels: list[tuple[int, Tensor]] = []

    def row(self) -> Tensor:
        """Returns a row to be filled and added. What it holds is arbitrary."""
        return self._free.pop() if self._free else torch.empty(self._length, dtype=self._dtype, device=self._device)

    def add(self, row: Tensor) -> None:
        """Adds a row, which belongs to the sum from then on."""
        level = 0
        while self._levels and self._levels[-1][0] == level:
            _, left = self._levels.pop()
            left.add_(row)
            self._free.append(row)
            row, level = left, level + 1
        self._levels.append((level, row))

    def last(self, row: Tensor, columns: slice) -> Tensor:
        """Returns the sum of some columns, with those of the last row, which makes the rows a power of two."""
        total = row[columns]
        for _, left in reversed(self._levels):
            total = left[columns].add_(total)
        return total

    def take(self, row: Tensor) -> Tensor:
        """Returns the row that the columns of `last` are in, and begins anew. It is valid until the next `row()`."""
        used = [left for _, left in self._levels] + [row]
        self._levels.clear()
        self._free += used
        return used[0]
