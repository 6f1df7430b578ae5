"""What evaluators of classifications have in common: right and wrong answers are counted, and losses summed up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.evaluators.evaluator import Evaluator, Found, Metric
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import SPLIT_NAMES

log = logging.getLogger(__name__)

CONFUSION_LIMIT = 1000
"""The most classes for which a confusion matrix is kept: its size is their square."""
ERROR = Metric("error", 2, " %")


class ClassEvaluator(Evaluator):
    """Counts answers by class; the metric is the share of wrong ones.

    Attributes for others:
        confusion: for each split that has been scored, the last confusion matrix: rows are the right classes, columns the
            answers. None are kept above 1,000 classes.
        losses: for each split the sum of the losses so far in this epoch; on the device.
        counts: for each split the cells so far in this epoch; on the device. Above 1,000 classes: wrong and right answers.
    """

    metric = ERROR

    confusion: dict[str, Tensor]
    counts: Tensor | None
    losses: Tensor | None

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow)
        self.confusion = {}
        self.counts = None
        self.losses = None

    def initialize(self) -> None:
        self.classes_ = self.class_count()
        self.detailed_ = 0 < self.classes_ <= CONFUSION_LIMIT
        cells = self.classes_**2 if self.detailed_ else 2
        self.counts = (torch.zeros((3, cells), dtype=torch.int64) if self.counts is None else self.counts).to(self.device)
        self.counters_ = list(self.counts)
        if self.losses is None:
            # In a snapshot from before losses were summed up, those of the epoch so far are unknown.
            self.losses = torch.where(self.counts.any(1), math.nan, 0.0).double()
        self.losses = self.losses.to(self.device)
        self.sums_ = list(self.losses)
        self.ones_ = torch.empty(0, dtype=torch.int64)

    def class_count(self) -> int:
        """Returns how many classes the network tells apart."""
        return math.prod(self.output_shape)

    def check_labels(self, loader: FullBatchLoader) -> None:
        """Raises a ConfigError if a label is that of no class."""
        highest = max(int(labels.max()) for labels in loader.labels_.values())
        if highest >= self.classes_:
            raise ConfigError(
                f"the last layer has {math.prod(self.output_shape)} outputs, but the labels go up to {highest}: set its"
                f" output_sample_shape to {highest + 1} or more"
            )
        if 0 < len(loader.label_names) < self.classes_:
            log.warning(
                "The last layer has %d outputs, and the labels are of %d classes: the others are learned as wrong answers",
                self.classes_,
                len(loader.label_names),
            )
        lowest = min(int(labels.min()) for labels in loader.labels_.values())
        if lowest < 0:
            raise ConfigError(f"{loader!r} has the label {lowest}: labels must be at least 0")

    def cells(self, answers: Tensor, labels: Tensor, loss: Tensor, missing: Callable[[], Tensor]) -> Tensor:
        """Returns where the answers of a minibatch are counted.

        Args:
            answers: classes, of shape (samples,).
            labels: the right ones.
            loss: of the minibatch; NaN if an output is.
            missing: returns for which samples the outputs are NaN, and so no answer: they count as a wrong one.
        """
        if loss.device.type != "cpu" or loss.isnan():  # to look at it on another device would be to wait for that
            answers = torch.where(missing(), (labels + 1) % self.classes_, answers)
        return torch.add(answers, labels, alpha=self.classes_) if self.detailed_ else (answers == labels).long()

    def add(self, found: Found) -> None:
        step, cells = self.minibatch, found.cells
        assert cells is not None
        if len(self.ones_) != len(cells):
            self.ones_ = cells.new_ones(len(cells))
        self.counters_[step.split].index_add_(0, cells, self.ones_)
        self.sums_[step.split].add_(found.total)
        if found.watched is not None:
            self.watched_.append((step, found.watched))

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
