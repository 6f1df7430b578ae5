"""Rows of metrics that wait for the norm of a gradient, which is computed after them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from runner.graph import Unit
from runner.nn.layers.weighted import WeightedGradient


class PendingRows:
    """Rows of one minibatch; the gradient units collect the squared norms of their gradients meanwhile."""

    def __init__(self) -> None:
        self._squares: list[Tensor] = []
        self._waiting: list[tuple[Callable[..., None], dict[str, Any]]] = []

    @property
    def of_splits(self) -> list[dict[str, Any]]:
        """Those of them that are of a split."""
        return [row for _, row in self._waiting if "split" in row]

    def add(self, units: Iterable[Unit], add: Callable[..., None], row: dict[str, Any]) -> None:
        """Has a row wait until `finish`."""
        if not self._waiting:
            self._squares = []
            _collect(units, self._squares)
        self._waiting.append((add, row))

    def finish(self, units: Iterable[Unit]) -> None:
        """Adds what waits, with the norm of the gradients, which have been computed meanwhile."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        _collect(units, None)
        norm = float(torch.stack(self._squares).sum().sqrt()) if self._squares else math.nan
        for add, row in waiting:
            add(**row | {"gradient_norm": norm})

    def end(self, units: Iterable[Unit]) -> None:
        """Does so at the end of a run, unless it has ended before the gradients, as when another process is lost."""
        if self._squares or not _gradients(units):
            self.finish(units)


def _collect(units: Iterable[Unit], squares: list[Tensor] | None) -> None:
    """Has the gradient units put the squared norms of their gradients into a list, or no longer."""
    for unit in _gradients(units):
        unit.squares_ = squares


def _gradients(units: Iterable[Unit]) -> list[WeightedGradient]:
    return [unit for unit in units if isinstance(unit, WeightedGradient)]
