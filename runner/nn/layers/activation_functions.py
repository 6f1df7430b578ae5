"""Activation functions with their derivatives, explicitly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

A, B = 1.7159, 0.6666


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes:
        name: how layers call it.
        gain: the input is multiplied by this before `apply`; the matrix product does it in passing.
        apply: returns the output, and may overwrite its argument.
        derive: returns the error at the input, from the error at the output and the output; overwrites neither.
        supposed: the largest output, as VELES supposes where it chooses the size of the weights that follow.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    derive: Callable[[Tensor, Tensor], Tensor]
    gain: float = 1.0
    supposed: float = 1.0


def _derive_tanh(error: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(error, output * (1 / A)).mul_(A * B)  # type: ignore[no-any-return]


def _derive_softplus(error: Tensor, output: Tensor) -> Tensor:
    # log(1 + e^x)' = 1 - e^-y
    return error * -torch.expm1(-output)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("linear", lambda x: x, lambda error, y: error),
        Activation("tanh", lambda x: x.tanh_().mul_(A), _derive_tanh, gain=B, supposed=A),
        Activation("softplus", torch.nn.functional.softplus, _derive_softplus, supposed=10.0),
        Activation("relu", lambda x: x.relu_(), lambda error, y: torch.ops.aten.threshold_backward(error, y, 0), supposed=10.0),
        Activation("sigmoid", lambda x: x.sigmoid_(), lambda error, y: torch.ops.aten.sigmoid_backward(error, y)),
        # log(x + sqrt(x^2 + 1)), whose derivative is 1 / cosh(y)
        Activation("log", lambda x: x.asinh_(), lambda error, y: error / y.cosh()),
        # The evaluator's error is that of softmax and cross-entropy together.
        Activation("softmax", lambda x: torch.softmax(x, 1), lambda error, y: error),
    )
}
