"""What the evaluator finds in the shards of a minibatch, put together in one order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.nn.evaluators.evaluator import Found
from runner.nn.sharding.rows import rows_of
from runner.parallel.pairwise import pairwise
from runner.parallel.processes import Processes

NO_CELL = -1.0
"""What stands for a cell that is not there."""


class Findings:
    """The findings of this process's shards, which become those of all, and what signals have come on the way.

    A shard is a row of float64, in which integers up to 2^53 are exact: the total, the watched number, and the cells.

    Args:
        samples: how many the minibatch has.
        shards: into how many shards it is cut.
    """

    def __init__(self, samples: int, shards: int) -> None:
        self._most = rows_of(0, samples, shards).stop
        self._rows: list[Tensor] = []

    def add(self, found: Found | None) -> None:
        """Adds what was found in a shard; None if it has no samples."""
        row = torch.full((2 + self._most,), NO_CELL, dtype=torch.float64)
        row[:2] = 0
        if found is not None:
            row[0] = found.total
            if found.watched is not None:
                row[1] = found.watched
            if found.cells is not None:
                row[2 : 2 + len(found.cells)] = found.cells
        self._rows.append(row)

    def of_all(self, processes: Processes, wishes: tuple[int, int]) -> tuple[Found, list[list[int]]]:
        """Returns the findings of all processes, and their wishes: numbers that each of them tells the others."""
        first = torch.zeros(2 + self._most, dtype=torch.float64)
        first[:2] = torch.tensor(wishes)
        gathered = processes.gather(torch.stack([first, *self._rows]))
        rows = gathered[:, 1:].flatten(0, 1)
        cells = rows[:, 2:].flatten()
        cells = cells[cells != NO_CELL].long()
        totals, watched = (pairwise(list(column.clone())) for column in rows[:, :2].t())
        return Found(totals, watched, cells if len(cells) else None), gathered[:, 0, :2].long().tolist()


def outputs_of_all(processes: Processes, mine: Sequence[Tensor | None], samples: int, width: int, dtype: torch.dtype) -> Tensor:
    """Returns the outputs for a whole minibatch, of shape (samples, width), on the CPU.

    Args:
        processes: those that share it.
        mine: the outputs of this process's shards, in their order; None for a shard without samples.
        samples: how many the minibatch has.
        width, dtype: how many numbers an output has, and their type.
    """
    parts = [rows_of(shard, samples, len(mine) * processes.size) for shard in range(len(mine) * processes.size)]
    rows = torch.zeros((len(mine), parts[0].stop, width), dtype=dtype)
    for row, value in zip(rows, mine, strict=True):
        if value is not None:
            row[: len(value)] = value.reshape(len(value), width)
    gathered = processes.gather(rows).flatten(0, 1)
    return torch.cat([row[: part.stop - part.start] for row, part in zip(gathered, parts, strict=True)])
