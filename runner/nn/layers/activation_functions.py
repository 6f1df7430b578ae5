"""Activation functions with their derivatives, explicitly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

A, B = 1.7159, 0.6666


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes:
        name: how layers call it.
        gain: the input is multiplied by this before `apply`; the matrix product does it in passing.
        apply: returns the output, and may overwrite its argument.
        derive: returns the error at the input, from the error at the output and the output; overwrites neither.
        apart: the same for a gain of 1, but into memory of its own, at once.
        supposed: the largest output, as VELES supposes where it chooses the size of the weights that follow.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    derive: Callable[[Tensor, Tensor], Tensor]
    gain: float = 1.0
    apart: Callable[[Tensor], Tensor] | None = None
    supposed: float = 1.0


def _derive_tanh(error: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(error, output * (1 / A)).mul_(A * B)  # type: ignore[no-any-return]


def _derive_softplus(error: Tensor, output: Tensor) -> Tensor:
    # log(1 + e^x)' = 1 - e^-y
    return error * -torch.expm1(-output)


def _derive_relu(error: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(error, output, 0)  # type: ignore[no-any-return]


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("linear", lambda x: x, lambda error, y: error),
        Activation("tanh", lambda x: x.tanh_().mul_(A), _derive_tanh, gain=B, supposed=A),
        Activation("softplus", softplus, _derive_softplus, apart=softplus, supposed=10.0),
        Activation("relu", lambda x: x.relu_(), _derive_relu, apart=torch.relu, supposed=10.0),
        Activation("sigmoid", lambda x: x.sigmoid_(), torch.ops.aten.sigmoid_backward, apart=torch.sigmoid),
        # log(x + sqrt(x^2 + 1)), whose derivative is 1 / cosh(y)
        Activation("log", lambda x: x.asinh_(), lambda error, y: error / y.cosh()),
        # The evaluator's error is that of softmax and cross-entropy together.
        Activation("softmax", lambda x: torch.softmax(x, 1), lambda error, y: error),
    )
}
