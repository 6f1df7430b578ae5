"""Mean squared error, for autoencoders and regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Linked, Workflow
from runner.nn.evaluators.evaluator import Evaluator, Found, Metric
from runner.nn.loading.loader import FullBatchLoader


class MSEEvaluator(Evaluator):
    """Half the squared error of a sample, averaged over the minibatch, as in VELES; the metric is the RMSE.

    The RMSE is the root of the mean squared error over all values of all samples. VELES reports the mean of the samples' own
    RMSEs, which is never larger.

    Linked attributes:
        targets_: what the output should be, with as many values as it has.

    Attributes for others:
        err_output_: (output - target) / samples.
        squares: for each split the sum of the squared errors so far in this epoch; on the device.
        values: for each split how many there were.
    """

    by_shard = True
    metric: ClassVar = Metric("RMSE", 4, "")
    wants: ClassVar = "targets_"

    targets_: Linked[Tensor]
    squares: Tensor | None
    values: list[int]

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow)
        self.squares = None
        self.values = [0, 0, 0]

    def initialize(self) -> None:
        self.squares = (torch.zeros(3, dtype=torch.float64) if self.squares is None else self.squares).to(self.device)
        self.sums_ = list(self.squares)

    def check_data(self, loader: FullBatchLoader) -> None:
        loader.check_answers(labels=False)
        outputs, wanted = math.prod(self.output_shape), math.prod(loader.target_shape)
        if outputs != wanted:
            what = "a sample" if loader.targets_ is loader.data_ else "a target"
            raise ConfigError(f"loss_function=mse: the last layer has {outputs} outputs, and {what} has {wanted} values")

    def run(self) -> None:
        output = self.output_
        difference = output - self.targets_.view(output.shape)
        squares = difference.square().sum(dtype=torch.float64)
        self.note(Found(squares, None if self.evaluating else squares))
        if not self.evaluating:
            self.err_output_ = difference.div_(self.minibatch.samples)

    def add(self, found: Found) -> None:
        step = self.minibatch
        self.sums_[step.split].add_(found.total)
        self.values[step.split] += step.samples * math.prod(self.output_shape)
        if found.watched is not None:
            self.watched_.append((step, found.watched))

    def compute(self, split: int) -> float:
        total, values = self.sums_[split], self.values[split]
        return math.sqrt(float(total) / values) if values else math.nan

    def readings(self, split: int) -> dict[str, str]:
        if not self.values[split]:
            return {}
        return {self.metric.name: self.metric.text(self.compute(split)), "loss": f"{self.loss(split):.4f}"}

    def sums(self, split: int) -> list[float]:
        return [self.values[split] / math.prod(self.output_shape), float(self.sums_[split])]

    def measured(self, sums: Sequence[float]) -> dict[str, float]:
        samples, squares = sums
        return {"loss": squares / 2 / samples, self.metric.name: math.sqrt(squares / samples / math.prod(self.output_shape))}

    def loss(self, split: int) -> float:
        return self.measured(self.sums(split))["loss"] if self.values[split] else math.nan

    def reset(self, split: int) -> None:
        self.sums_[split].zero_()
        self.values[split] = 0
