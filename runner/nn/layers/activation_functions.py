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
        gain: what the input is multiplied with before `apply`; the matrix product does it in passing.
        apply: gives the output for that, which it may overwrite.
        derive: gives the error at the input, from the error at the output and the output; overwrites neither.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    derive: Callable[[Tensor, Tensor], Tensor]
    gain: float = 1.0


def _derive_tanh(error: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(error, output * (1 / A)).mul_(A * B)  # type: ignore[no-any-return]


def _derive_softplus(error: Tensor, output: Tensor) -> Tensor:
    # log(1 + e^x)' = 1 - e^-y
    return error * -torch.expm1(-output)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("linear", lambda x: x, lambda error, y: error),
        Activation("tanh", lambda x: x.tanh_().mul_(A), _derive_tanh, gain=B),
        Activation("softplus", torch.nn.functional.softplus, _derive_softplus),
        Activation("relu", lambda x: x.relu_(), lambda error, y: torch.ops.aten.threshold_backward(error, y, 0)),
        Activation("sigmoid", lambda x: x.sigmoid_(), lambda error, y: torch.ops.aten.sigmoid_backward(error, y)),
        # log(x + sqrt(x^2 + 1)), whose derivative is 1 / cosh(y)
        Activation("log", lambda x: x.asinh_(), lambda error, y: error / y.cosh()),
        # The evaluator gives the error of softmax and cross-entropy together.
        Activation("softmax", lambda x: torch.softmax(x, 1), lambda error, y: error),
    )
}
