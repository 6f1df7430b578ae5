"""Activation functions as separate layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from runner.graph import Workflow
from runner.nn.layers.activation_functions import ACTIVATIONS
from runner.nn.layers.base import Forward, Gradient


class ActivationLayer(Forward):
    """output = activation(input).

    Args:
        activation: a name from `ACTIVATIONS`.
    """

    activation: str

    def __init__(self, workflow: Workflow, name: str, *, seed: int, activation: str) -> None:
        super().__init__(workflow, name)
        self.activation = activation

    def initialize(self) -> None:
        self.function_ = ACTIVATIONS[self.activation]
        self.output_shape = self.input_shape

    def run(self) -> None:
        function = self.function_
        if function.apart is not None:
            self.output_ = function.apart(self.input_)
        else:
            # The input belongs to another unit, so `apply`, which overwrites its argument, gets a copy.
            self.output_ = function.apply(self.input_.clone() if function.gain == 1 else self.input_ * function.gain)


class ActivationGradient(Gradient):
    """The backward step of `ActivationLayer`."""

    forward: ActivationLayer

    def run(self) -> None:
        forward = self.forward
        output, error = forward.output_, self.err_output_.reshape(forward.output_.shape)
        if error.stride() != output.stride():
            # Operators on two different memory formats take several times as long.
            error = torch.empty_like(output).copy_(error)
        self.err_input_ = forward.function_.derive(error, output)


class Multiplication(Forward):
    """output = factor input.

    Args:
        factor: the constant.
    """

    adjustable = frozenset({"factor"})

    factor: float

    def __init__(self, workflow: Workflow, name: str, *, seed: int, factor: float) -> None:
        super().__init__(workflow, name)
        self.reconfigure(factor=factor)

    def reconfigure(self, **changes: Any) -> None:
        self.check_adjustable(changes)
        for factor in changes.values():
            self.factor = float(factor)

    def initialize(self) -> None:
        self.output_shape = self.input_shape

    def run(self) -> None:
        self.output_ = torch.mul(self.input_, self.factor)


class MultiplicationGradient(Gradient):
    """The backward step of `Multiplication`."""

    forward: Multiplication

    def run(self) -> None:
        self.err_input_ = torch.mul(self.err_output_, self.forward.factor)


class SinCos(Forward):
    """output = cos(input) at even positions of a sample, and sin(input) at odd ones."""

    def __init__(self, workflow: Workflow, name: str, *, seed: int) -> None:
        super().__init__(workflow, name)

    def initialize(self) -> None:
        self.output_shape = self.input_shape

    def run(self) -> None:
        self.output_ = self.interleaved(torch.cos, torch.sin)

    def interleaved(self, even: Callable[[Tensor], Tensor], odd: Callable[[Tensor], Tensor]) -> Tensor:
        """Returns one function of the values at even positions, and another of those at odd ones, in the shape of the input."""
        flat = self.input_.flatten(1)
        result = torch.empty_like(flat)
        result[:, ::2], result[:, 1::2] = even(flat[:, ::2]), odd(flat[:, 1::2])
        return result.view(self.input_.shape)


class SinCosGradient(Gradient):
    """The backward step of `SinCos`."""

    forward: SinCos

    def run(self) -> None:
        forward = self.forward
        slope = forward.interleaved(lambda values: values.sin().neg_(), torch.cos)
        self.err_input_ = self.err_output_.reshape(slope.shape) * slope
