"""Cross-entropy, for classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Linked, Workflow
from runner.nn.evaluators.evaluator import Evaluator, Metric
from runner.nn.loading.labels import LABELS_FROM
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import SPLIT_NAMES

CONFUSION_LIMIT = 1000
"""The most classes for which a confusion matrix is kept: its size is their square."""
LEAST = torch.finfo(torch.float32).tiny
"""What a probability that is rounded to zero counts as in the loss, which would be infinite otherwise."""


class SoftmaxEvaluator(Evaluator):
    """Cross-entropy over a softmax layer, averaged over the minibatch; the metric is the share of wrong answers.

    Linked attributes:
        output_: probabilities of shape (samples, classes).
        labels_: right classes of shape (samples,).

    Attributes for others:
        err_output_: the error at the input of the softmax, of the shape of `output_`.
        confusion: for each split that has been scored, the last confusion matrix: rows are the right classes, columns the
            answers. None are kept above 1,000 classes.
        losses: for each split the sum of the losses so far in this epoch; on the device.
        counts: for each split the cells so far in this epoch; on the device. Above 1,000 classes: wrong and right answers.
    """

    version = 2
    metric: ClassVar = Metric("error", 2, " %")
    wants: ClassVar = "labels_"

    labels_: Linked[Tensor]
    confusion: dict[str, Tensor]
    counts: Tensor | None
    losses: Tensor | None

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow)
        self.confusion = {}
        self.counts = None
        self.losses = None

    def migrate(self, state: dict[str, Any], version: int) -> None:
        state["losses"] = None

    def initialize(self) -> None:
        self.classes_ = math.prod(self.output_shape)
        self.detailed_ = self.classes_ <= CONFUSION_LIMIT
        cells = self.classes_**2 if self.detailed_ else 2
        self.counts = (torch.zeros((3, cells), dtype=torch.int64) if self.counts is None else self.counts).to(self.device)
        self.counters_ = list(self.counts)
        if self.losses is None:
            # In a snapshot from before losses were summed up, those of the epoch so far are unknown.
            self.losses = torch.where(self.counts.any(1), math.nan, 0.0).double()
        self.losses = self.losses.to(self.device)
        self.sums_ = list(self.losses)
        self.minus_ones_ = torch.empty(0)
        self.ones_ = torch.empty(0, dtype=torch.int64)

    def check_data(self, loader: FullBatchLoader) -> None:
        if not loader.labels_:
            raise ConfigError(f"loss_function=softmax needs labels, and {loader!r} has none: {LABELS_FROM}")
        highest = max(int(labels.max()) for labels in loader.labels_.values())
        if highest >= self.classes_:
            raise ConfigError(
                f"the last layer has {self.classes_} outputs, but the labels go up to {highest}: set its output_sample_shape"
                f" to {highest + 1} or more"
            )
        lowest = min(int(labels.min()) for labels in loader.labels_.values())
        if lowest < 0:
            raise ConfigError(f"{loader!r} has the label {lowest}: labels must be at least 0")

    def run(self) -> None:
        output, labels = self.output_, self.labels_
        samples = len(labels)
        if len(self.ones_) != samples:
            self.ones_ = labels.new_ones(samples)
            self.minus_ones_ = output.new_full((samples, 1), -1)
        answers = output.argmax(1)
        cells = torch.add(answers, labels, alpha=self.classes_) if self.detailed_ else (answers == labels).long()
        self.counters_[self.minibatch.split].index_add_(0, cells, self.ones_)
        chosen = output.gather(1, labels.unsqueeze(1)).clamp_min_(LEAST)
        self.sums_[self.minibatch.split].sub_(chosen.log_().sum(dtype=torch.float64))
        if not self.evaluating:
            self.err_output_ = output.scatter_add(1, labels.unsqueeze(1), self.minus_ones_).div_(samples)
            self.watched_.append((self.minibatch, self.err_output_.sum()))

    def compute(self, split: int) -> float:
        counts = self.counters_[split].cpu()
        if self.detailed_:
            counts = counts.view(self.classes_, self.classes_).clone()
            self.confusion[SPLIT_NAMES[split]] = counts
            right = int(counts.trace())
        else:
            right = int(counts[1])
        samples = int(counts.sum())
        return 100 * (samples - right) / samples if samples else math.nan

    def readings(self, split: int) -> dict[str, str]:
        if not (sums := self.sums(split))[0]:
            return {}
        measured = self.measured(sums)
        return {self.metric.name: self.metric.text(measured[self.metric.name]), "loss": f"{measured['loss']:.4f}"}

    def sums(self, split: int) -> list[float]:
        counts = self.counters_[split].cpu()
        right = counts.view(self.classes_, self.classes_).trace() if self.detailed_ else counts[1]
        return [int(counts.sum()), int(right), float(self.sums_[split])]

    def measured(self, sums: Sequence[float]) -> dict[str, float]:
        samples, right, losses = sums
        return {"loss": losses / samples, self.metric.name: 100 * (samples - right) / samples}

    def loss(self, split: int) -> float:
        samples, _, losses = self.sums(split)
        return losses / samples if samples else math.nan

    def reset(self, split: int) -> None:
        self.sums_[split].zero_()
        self.counters_[split].zero_()
