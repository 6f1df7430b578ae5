"""Cross-entropy, for classification."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Linked
from runner.nn.evaluators.class_evaluator import ClassEvaluator
from runner.nn.evaluators.evaluator import Found
from runner.nn.loading.labels import LABELS_FROM
from runner.nn.loading.loader import FullBatchLoader

LEAST = torch.finfo(torch.float32).tiny
"""What a probability that is rounded to zero counts as in the loss, which would be infinite otherwise."""


class SoftmaxEvaluator(ClassEvaluator):
    """Cross-entropy over a softmax layer, averaged over the minibatch; the metric is the share of wrong answers.

    Linked attributes:
        output_: probabilities of shape (samples, classes).
        labels_: right classes of shape (samples,).

    Attributes for others:
        err_output_: the error at the input of the softmax, of the shape of `output_`.
    """

    version = 2
    by_shard = True
    wants: ClassVar = "labels_"
    outputs_are = "probabilities"

    labels_: Linked[Tensor]

    def migrate(self, state: dict[str, Any], version: int) -> None:
        state["losses"] = None

    def initialize(self) -> None:
        super().initialize()
        self.minus_ones_ = torch.empty(0)

    def check_data(self, loader: FullBatchLoader) -> None:
        if not loader.labels_:
            raise ConfigError(f"loss_function=softmax needs labels, and {loader!r} has none: {LABELS_FROM}")
        loader.check_answers(labels=True)
        self.check_labels(loader)

    def run(self) -> None:
        output, labels = self.output_, self.labels_
        chosen = output.gather(1, labels.unsqueeze(1)).clamp_min_(LEAST)
        losses, watched = chosen.log_().sum(dtype=torch.float64).neg_(), None
        cells = self.cells(output.argmax(1), labels, losses, lambda: chosen.isnan().squeeze(1))
        if not self.evaluating:
            if len(self.minus_ones_) != len(labels):
                self.minus_ones_ = output.new_full((len(labels), 1), -1)
            error = output.scatter_add(1, labels.unsqueeze(1), self.minus_ones_)
            self.err_output_ = error.div_(self.minibatch.samples)
            watched = losses  # what is not finite makes all of a sample's outputs so
        self.note(Found(losses, watched, cells))
