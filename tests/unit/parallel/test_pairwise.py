"""Sums in the order of a tree: the same bits, however many processes have a part of it."""

import pytest
import torch

from runner.parallel.pairwise import PairwiseSum, pairwise

ROWS = torch.randn(16, 1000, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-8, 8).view(16, 1)


def summed(rows: torch.Tensor) -> torch.Tensor:
    """Sums rows as one process does, each as it comes."""
    total = PairwiseSum(rows.shape[1], rows.dtype, rows.device)
    *before, last = rows
    for row in before:
        total.add(total.row().copy_(row))
    own = total.row().copy_(last)
    for columns in (slice(0, 300), slice(300, rows.shape[1])):
        total.last(own, columns)
    return total.take(own)


def test_the_order_is_that_of_neighbors() -> None:
    a, b, c, d = ROWS[:4]
    assert torch.equal(pairwise([row.clone() for row in ROWS[:4]]), (a + b) + (c + d))
    assert not torch.equal(pairwise([row.clone() for row in ROWS]), ROWS.sum(0))  # the order counts


@pytest.mark.parametrize("processes", [1, 2, 4, 8, 16])
def test_parts_of_processes_make_the_same_sum(processes: int) -> None:
    parts = [summed(part) for part in ROWS.view(processes, -1, 1000)]
    assert torch.equal(pairwise(parts), summed(ROWS))


def test_rows_are_used_again_and_few() -> None:
    total = PairwiseSum(10, torch.float32, torch.device("cpu"))
    seen = set()
    for _ in range(3):
        for _ in range(63):
            row = total.row()
            seen.add(row.data_ptr())
            total.add(row.fill_(1))
        assert total.last(last := total.row().fill_(1), slice(0, 10)).tolist() == [64] * 10
        assert total.take(last).tolist() == [64] * 10
    assert len(seen) <= 8
