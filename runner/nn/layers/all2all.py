"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from runner.graph import Workflow
from runner.nn.activations import ACTIVATIONS
from runner.nn.layer import Forward, WeightedGradient
from runner.nn.stream import Stream


class All2All(Forward):
    """output = activation(input weights^T + bias).

    Attributes:
        weights: of shape (outputs, inputs).
        bias: of shape (outputs,), or None.

    Args:
        workflow: the workflow.
        name: the layer's name.
        seed: the seed of the run.
        activation: a name from `ACTIVATIONS`.
        output_sample_shape: the number of outputs, or the shape of one sample of them.
        weights_filling, bias_filling: `uniform`, `gaussian` or `constant`.
        weights_stddev, bias_stddev: the limit of a uniform filling, the standard deviation of a gaussian one, the value of a
            constant one; 1 / sqrt(inputs) unless given.
        include_bias: whether there is a bias.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        *,
        seed: int,
        activation: str,
        output_sample_shape: int | Sequence[int],
        weights_filling: str = "uniform",
        weights_stddev: float | None = None,
        bias_filling: str = "uniform",
        bias_stddev: float | None = None,
        include_bias: bool = True,
    ) -> None:
        super().__init__(workflow, name)
        self.activation = activation
        shape = (output_sample_shape,) if isinstance(output_sample_shape, int) else output_sample_shape
        self.output_shape = tuple(shape)
        self.fillings = ((weights_filling, weights_stddev), (bias_filling, bias_stddev))
        self.include_bias = include_bias
        self.stream = Stream(seed, name)
        self.weights: Tensor | None = None
        self.bias: Tensor | None = None

    def initialize(self) -> None:
        self.function_ = ACTIVATIONS[self.activation]
        device = getattr(self.workflow, "device_", "cpu")
        if self.weights is None:
            inputs, outputs = math.prod(self.input_shape), math.prod(self.output_shape)
            dtype = getattr(self.workflow, "dtype", torch.float32)
            weights_filling, bias_filling = self.fillings
            self.weights = self._filled((outputs, inputs), weights_filling, inputs, dtype)
            self.bias = self._filled((outputs,), bias_filling, inputs, dtype) if self.include_bias else None
        self.weights = self.weights.to(device)
        self.bias = None if self.bias is None else self.bias.to(device)

    def run(self) -> None:
        assert self.weights is not None
        inputs = self.input_
        if inputs.dim() > 2:
            inputs = inputs.flatten(1)
        weights, gain = self.weights.t(), self.function_.gain
        if self.bias is None:
            linear = torch.mm(inputs, weights).mul_(gain)
        else:
            linear = torch.addmm(self.bias, inputs, weights, beta=gain, alpha=gain)
        self.output_ = self.function_.apply(linear)

    def _filled(self, shape: tuple[int, ...], filling: tuple[str, float | None], inputs: int, dtype: torch.dtype) -> Tensor:
        kind, size = filling
        size = 1 / math.sqrt(inputs) if size is None else size
        match kind:
            case "uniform":
                return self.stream.uniform(shape, size, dtype)
            case "gaussian":
                return self.stream.gaussian(shape, size, dtype)
            case _:
                return torch.full(shape, size, dtype=dtype)


class All2AllGradient(WeightedGradient):
    """The backward step of `All2All`."""

    def run(self) -> None:
        forward: All2All = self.forward
        assert forward.weights is not None
        error = self.err_output_
        output, inputs = forward.output_, forward.input_
        if error.dim() > 2:
            error = error.flatten(1)
        error = forward.function_.derive(error, output)
        if self.needs_err_input:
            self.err_input_ = torch.mm(error, forward.weights).view(inputs.shape)
        if inputs.dim() > 2:
            inputs = inputs.flatten(1)
        self.weights_step.update_matrix(forward.weights, error, inputs, self.rate_factor)
        if forward.bias is not None:
            self.bias_step.update_vector(forward.bias, error.sum(0), self.rate_factor)
