"""What a module's own step has measured, averaged over the samples of a split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.graph import Linked, Workflow
from runner.nn.evaluators.evaluator import TAKEN, Evaluator, Metric
from runner.nn.layers.own_step import LOSS, OwnStep
from runner.nn.loading.loader import FullBatchLoader


class StepEvaluator(Evaluator):
    """Averages the numbers that a module's own step returns for each minibatch; the metric is `loss`.

    Linked attributes:
        numbers_: what the step has returned, by name.

    Attributes for others:
        sums_of: by name, for each split the sum of the numbers so far in this epoch, times the samples of their minibatches.
        counted: for each split how many samples there were.

    Args:
        layer: has the module.
    """

    metric: ClassVar = Metric(LOSS, 4, "")
    wants: ClassVar = "numbers_"

    numbers_: Linked[dict[str, Tensor]]
    layer: OwnStep
    sums_of: dict[str, Tensor]
    counted: list[int]

    def __init__(self, workflow: Workflow, layer: OwnStep) -> None:
        super().__init__(workflow)
        self.layer = layer
        self.sums_of = {}
        self.counted = [0, 0, 0]

    def check_data(self, loader: FullBatchLoader) -> None:
        names = self.layer.check_data(loader)
        if taken := TAKEN.intersection(names) - {LOSS}:
            raise ConfigError(
                f"the step of layers.{self.layer.name} returns {min(taken)!r}, which rows of metrics have already"
            )
        if self.sums_of and self.sums_of.keys() != set(names):
            raise SnapshotMismatchError(f"the step returned {', '.join(self.sums_of)}, and returns {', '.join(names)} now")
        zeros = {name: torch.zeros(3, dtype=torch.float64) for name in names}
        self.sums_of = {name: self.sums_of.get(name, zeros[name]).to(self.device) for name in names}

    @property
    def extra_names(self) -> list[str]:
        return [name for name in self.sums_of if name != LOSS]

    def run(self) -> None:
        step = self.minibatch
        samples = step.end - step.begin
        if self.numbers_.keys() != self.sums_of.keys():
            raise RunError(
                f"the step of layers.{self.layer.name} returns {', '.join(self.numbers_)} for a minibatch of {samples}, and"
                f" {', '.join(self.sums_of)} for others: the names are always the same"
            )
        for name, value in self.numbers_.items():
            self.sums_of[name][step.split].add_(value.double().reshape(()), alpha=samples)
        self.counted[step.split] += samples
        if not self.evaluating:
            self.watched_.append((step, self.numbers_[LOSS].reshape(())))

    def compute(self, split: int) -> float:
        return self._mean(LOSS, split)

    def loss(self, split: int) -> float:
        return self._mean(LOSS, split)

    def extras(self, split: int) -> dict[str, float]:
        return {name: self._mean(name, split) for name in self.extra_names}

    def _mean(self, name: str, split: int) -> float:
        return float(self.sums_of[name][split]) / self.counted[split] if self.counted[split] else math.nan

    def readings(self, split: int) -> dict[str, str]:
        return {LOSS: self.metric.text(self.loss(split))} if self.counted[split] else {}

    def sums(self, split: int) -> list[float]:
        return [self.counted[split], float(self.sums_of[LOSS][split])]

    def measured(self, sums: Sequence[float]) -> dict[str, float]:
        return {LOSS: sums[1] / sums[0]}

    def reset(self, split: int) -> None:
        self.counted[split] = 0
        for sums in self.sums_of.values():
            sums[split] = 0.0
