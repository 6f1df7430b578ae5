"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from runner.errors import ConfigError
from runner.graph import Linked, Workflow
from runner.nn.layers.activation_functions import ACTIVATIONS
from runner.nn.layers.weighted import WeightedForward, WeightedGradient
from runner.nn.loading.labels import LABELS_FROM


class All2All(WeightedForward):
    """output = activation(input weights^T + bias).

    Attributes:
        weights: of shape (outputs, inputs).
        bias: of shape (outputs,), or None.

    Linked attributes:
        label_count: the number of classes, where the number of outputs is not given.

    Args:
        activation: a name from `ACTIVATIONS`.
        output_sample_shape: the number of outputs, or the shape of one sample of them. None: the number of classes.
        initialization: as in `WeightedForward`.
    """

    label_count: Linked[int]
    activation: str

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        *,
        seed: int,
        activation: str,
        output_sample_shape: int | Sequence[int] | None,
        **initialization: Any,
    ) -> None:
        super().__init__(workflow, name, seed=seed, **initialization)
        self.activation = activation
        shape = (output_sample_shape,) if isinstance(output_sample_shape, int) else output_sample_shape
        self.output_shape = tuple(shape or ())
        if not self.output_shape:
            self.demand("label_count")

    def initialize(self) -> None:
        self.function_ = ACTIVATIONS[self.activation]
        if not self.output_shape and "label_count" in self.links():
            if not self.label_count:
                raise ConfigError(
                    f"layers.{self.name} has an output for each label, and the data have no labels: {LABELS_FROM}, and"
                    f" layers.{self.name}.output_sample_shape"
                )
            self.output_shape = (self.label_count,)
        outputs = math.prod(self.output_shape)
        self.initialize_parameters((outputs, math.prod(self.input_shape)), outputs)

    def veles_size(self, inputs: int) -> tuple[float, float]:
        spread = {"tanh": 9, "sigmoid": 1}.get(self.activation, 10)
        return math.sqrt(spread / (inputs + math.prod(self.output_shape))), 0.5

    def run(self) -> None:
        assert self.weights is not None
        inputs = self.flat_ = self.input_ if self.input_.dim() == 2 else self.input_.flatten(1)
        weights, gain = self.weights.t(), self.function_.gain
        if self.bias is None:
            linear = torch.mm(inputs, weights).mul_(gain)
        else:
            linear = torch.addmm(self.bias, inputs, weights, beta=gain, alpha=gain)
        self.output_ = self.function_.apply(linear)


class All2AllGradient(WeightedGradient):
    """The backward step of `All2All`."""

    forward: All2All

    def run(self) -> None:
        forward = self.forward
        assert forward.weights is not None
        error = self.err_output_
        if error.dim() > 2:
            error = error.flatten(1)
        error = forward.function_.derive(error, forward.output_)
        if self.needs_err_input:
            self.err_input_ = torch.mm(error, forward.weights).view(forward.input_.shape)
        self.apply_product("weights", forward.weights, error, forward.flat_)
        if forward.bias is not None:
            self.apply("bias", forward.bias, error.sum(0))
