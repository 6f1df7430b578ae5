"""Mean squared error, for autoencoders and regression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.evaluators.evaluator import Evaluator, Metric
from runner.nn.loading.loader import FullBatchLoader


class MSEEvaluator(Evaluator):
    """Half the squared error of a sample, averaged over the minibatch, as in VELES; the metric is the RMSE.

    The RMSE is the root of the squared error's mean over all values of all samples. VELES's is the mean of the samples' roots,
    which is never more.

    Linked attributes:
        targets_: what the output shall be, with as many values as it has.

    Attributes for others:
        err_output_: (output - target) / samples.
        squares: the squared errors so far in this epoch, summed by class of samples; on the device.
        values: how many there were.
    """

    metric = Metric("RMSE", 4, "")
    wants = "targets_"

    targets_: Tensor

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow)
        self.squares: Tensor | None = None
        self.values = [0, 0, 0]

    def initialize(self) -> None:
        device = getattr(self.workflow, "device_", "cpu")
        self.squares = (torch.zeros(3, dtype=torch.float64) if self.squares is None else self.squares).to(device)
        self.sums_ = list(self.squares)

    def check_data(self, loader: FullBatchLoader) -> None:
        outputs, wanted = math.prod(self.output_shape), math.prod(loader.target_shape)
        if outputs != wanted:
            what = "a sample" if loader.targets_ is loader.data_ else "a target"
            raise ConfigError(f"loss_function=mse: the last layer has {outputs} outputs, and {what} has {wanted} values")

    def run(self) -> None:
        output, sample_class = self.output_, self.minibatch.sample_class
        difference = output - self.targets_.view(output.shape)
        self.sums_[sample_class].add_(difference.square().sum(dtype=torch.float64))
        self.values[sample_class] += difference.numel()
        if not self.evaluating:
            self.err_output_ = difference.div_(len(difference))

    def take(self, sample_class: int) -> float:
        total, values = self.sums_[sample_class], self.values[sample_class]
        rmse = math.sqrt(float(total) / values) if values else math.nan
        total.zero_()
        self.values[sample_class] = 0
        return rmse
