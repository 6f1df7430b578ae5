"""The minibatches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.nn.loading.samples import TEST, TRAIN, VALIDATION


@dataclass(frozen=True)
class Minibatch:
    """One step of an epoch.

    Attributes:
        split: TRAIN, VALIDATION or TEST.
        begin, end: which samples of the class.
        last: whether it is the last one of its class.
        epoch_ends: whether it is the last one of the epoch.
    """

    split: int
    begin: int
    end: int
    last: bool
    epoch_ends: bool

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return self.end - self.begin


def epoch(lengths: Sequence[int], size: int) -> list[Minibatch]:
    """Returns the minibatches of an epoch in their order: of the training, the validation and the test set.

    Args:
        lengths: samples by class.
        size: samples in a minibatch; the last one of a class may have fewer.
    """
    order = [key for key in (TRAIN, VALIDATION, TEST) if lengths[key]]
    return [
        Minibatch(
            key,
            begin,
            min(begin + size, lengths[key]),
            last := begin + size >= lengths[key],
            last and key == order[-1],
        )
        for key in order
        for begin in range(0, lengths[key], size)
    ]
