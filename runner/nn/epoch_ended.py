"""What is told of an epoch at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.nn.evaluators.evaluator import Metric
from runner.nn.loading.samples import SPLIT_NAMES


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """One epoch. It is the `event` of the log record that has `line()`, for whoever shows it in another way.

    Attributes:
        number: the epoch, from 1.
        total: the last one at most; None without a limit.
        metric: what the errors are.
        errors, losses: of each split.
        scores: what else was measured, by name and split.
        monitor: the split whose error decides.
        rates: the learning rates, from the lowest to the highest.
        seconds: how long it took.
        best: whether its error is the best so far.
    """

    number: int
    total: int | None
    metric: Metric
    errors: Mapping[str, float]
    losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    monitor: str
    rates: tuple[float, ...] = ()
    seconds: float
    best: bool

    @property
    def splits(self) -> list[str]:
        """The splits, in the order in which they are shown."""
        return [name for name in reversed(SPLIT_NAMES) if name in self.errors]

    @property
    def rate(self) -> str:
        """The learning rate; of several the lowest and the highest."""
        return "-".join(f"{rate:.3g}" for rate in dict.fromkeys((*self.rates[:1], *self.rates[-1:])))

    def _values(self, name: str, values: Mapping[str, float], splits: Sequence[str] | None = None) -> str:
        found = [split for split in self.splits if split in values] if splits is None else splits
        text = ", ".join(f"{values.get(split, math.nan):.4f}" for split in found)
        return f"{name} {text}" if text else ""

    def line(self) -> str:
        """Returns the epoch as one line of text."""
        parts = [
            self.metric.line(self.errors),
            self._values("loss", self.losses, self.splits) if self.losses else "",  # of each split, even one without a number
            *(self._values(name, values) for name, values in self.scores.items()),
            f"rate {self.rate}" if self.rates else "",
            f"{self.seconds:.2f} s",
        ]
        return f"Epoch {self.number}: {', '.join(filter(None, parts))}{'  (best so far)' if self.best else ''}"
