"""What all layers have in common: a forward unit, and the gradient unit that belongs to it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from runner.graph import Bool, Unit, Workflow
from runner.nn.sgd import SGD

Shape = tuple[int, ...]


class Forward(Unit):
    """The forward step of a layer.

    Linked attributes:
        input_: the minibatch from the unit before, of shape (samples, *input_shape).
        input_shape: the shape of one sample of it.
        evaluating: true when the minibatch is not for training.

    Attributes for others:
        output_: the result, of shape (samples, *output_shape).
        output_shape: the shape of one sample of it; known after `initialize()`.
    """

    input_: Tensor
    input_shape: Shape
    evaluating: Bool
    output_: Tensor
    output_shape: Shape

    def __init__(self, workflow: Workflow, name: str) -> None:
        super().__init__(workflow, name)
        self.demand("input_", "input_shape", "evaluating")


class Gradient(Unit):
    """The backward step of a layer: the error at its input, and the update of its weights.

    Linked attributes:
        err_output_: the error at the layer's output, from the gradient unit behind it or the evaluator.

    Attributes for others:
        err_input_: the error at the layer's input.

    Args:
        workflow: the workflow.
        forward: the forward unit of the layer.
        needs_err_input: false for the first layer with weights, whose error at the input nobody reads.
    """

    err_output_: Tensor
    err_input_: Tensor

    def __init__(self, workflow: Workflow, forward: Forward, *, needs_err_input: bool = True) -> None:
        super().__init__(workflow, f"gd_{forward.name}")
        self.forward: Any = forward
        self.needs_err_input = needs_err_input
        self.demand("err_output_")


class WeightedGradient(Gradient):
    """The backward step of a layer with weights, which are updated in place.

    Attributes:
        rate_factor: multiplies the learning rates; a learning-rate policy sets it.
        weights_step, bias_step: how weights and bias are updated.

    Args:
        workflow: the workflow.
        forward: the layer's forward unit.
        needs_err_input: false if nobody reads the error at the input.
        learning_rate, weights_decay, l1_vs_l2, gradient_moment: of the weights, as in `SGD`.
        learning_rate_bias, weights_decay_bias, l1_vs_l2_bias, gradient_moment_bias: of the bias; what is None is as for the
            weights.
    """

    adjustable = frozenset(
        name + suffix for name in ("learning_rate", "weights_decay", "l1_vs_l2", "gradient_moment") for suffix in ("", "_bias")
    )

    def __init__(
        self,
        workflow: Workflow,
        forward: Forward,
        *,
        needs_err_input: bool = True,
        learning_rate: float = 0.01,
        learning_rate_bias: float | None = None,
        weights_decay: float = 0.0,
        weights_decay_bias: float | None = 0.0,
        l1_vs_l2: float = 0.0,
        l1_vs_l2_bias: float | None = None,
        gradient_moment: float = 0.0,
        gradient_moment_bias: float | None = None,
    ) -> None:
        super().__init__(workflow, forward, needs_err_input=needs_err_input)
        self.rate_factor = 1.0
        self.weights_step = SGD(learning_rate)
        self.bias_step = SGD(learning_rate)
        self.settings: dict[str, Any] = {}
        self.reconfigure(
            learning_rate=learning_rate,
            learning_rate_bias=learning_rate_bias,
            weights_decay=weights_decay,
            weights_decay_bias=weights_decay_bias,
            l1_vs_l2=l1_vs_l2,
            l1_vs_l2_bias=l1_vs_l2_bias,
            gradient_moment=gradient_moment,
            gradient_moment_bias=gradient_moment_bias,
        )

    def reconfigure(self, **changes: object) -> None:
        self.check_adjustable(changes)
        self.settings |= changes
        for field, name in (
            ("rate", "learning_rate"),
            ("decay", "weights_decay"),
            ("l1", "l1_vs_l2"),
            ("moment", "gradient_moment"),
        ):
            value, bias_value = self.settings[name], self.settings[f"{name}_bias"]
            setattr(self.weights_step, field, value)
            setattr(self.bias_step, field, value if bias_value is None else bias_value)
