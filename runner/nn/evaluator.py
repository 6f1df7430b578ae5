"""The evaluator: compares the output with the labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Bool, Unit, Workflow
from runner.nn.loader import Minibatch


class SoftmaxEvaluator(Unit):
    """Cross-entropy over a softmax layer, averaged over the minibatch, and the number of wrong answers.

    Linked attributes:
        output_: probabilities of shape (samples, classes).
        output_shape: the number of classes, as a shape.
        labels_: right classes of shape (samples,).
        minibatch: what this minibatch is.
        evaluating: true when the minibatch is not for training.

    Attributes for others:
        err_output_: the error at the input of the softmax, of the shape of `output_`.
        n_err: wrong answers so far in this epoch, by class of samples; on the device.
    """

    output_: Tensor
    output_shape: tuple[int, ...]
    labels_: Tensor
    minibatch: Minibatch
    evaluating: Bool

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "evaluator")
        self.n_err: Tensor | None = None
        self.demand("output_", "output_shape", "labels_", "minibatch", "evaluating")

    def initialize(self) -> None:
        device = getattr(self.workflow, "device_", "cpu")
        self.n_err = (torch.zeros(3, dtype=torch.int64) if self.n_err is None else self.n_err).to(device)
        self.counters_ = list(self.n_err)
        self.minus_ones_ = torch.empty(0)

    def check_labels(self, highest: int) -> None:
        """Raises a ConfigError if there are labels without an output."""
        classes = math.prod(self.output_shape)
        if highest >= classes:
            raise ConfigError(
                f"the last layer has {classes} outputs, but the labels go up to {highest}: set its output_sample_shape to"
                f" {highest + 1} or more"
            )

    def run(self) -> None:
        output, labels = self.output_, self.labels_
        self.counters_[self.minibatch.sample_class].add_((output.argmax(1) != labels).count_nonzero())
        if not self.evaluating:
            samples = len(labels)
            if len(self.minus_ones_) != samples:
                self.minus_ones_ = output.new_full((samples, 1), -1)
            self.err_output_ = output.scatter_add(1, labels.unsqueeze(1), self.minus_ones_).div_(samples)

    def take(self, sample_class: int) -> int:
        """Returns the wrong answers of a class of samples and begins to count anew."""
        counter = self.counters_[sample_class]
        wrong = int(counter)
        counter.zero_()
        return wrong
