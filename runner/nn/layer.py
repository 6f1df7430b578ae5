"""What all layers have in common: a forward unit, and the gradient unit that belongs to it."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Bool, Unit, Workflow
from runner.nn.optimizer import TorchStep
from runner.nn.sgd import SGD

Shape = tuple[int, ...]
Step = SGD | TorchStep
U = TypeVar("U", bound=Unit)


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

    @property
    def device(self) -> torch.device:
        """Where tensors belong."""
        device: torch.device = getattr(self.workflow, "device_", torch.device("cpu"))
        return device

    def tensors(self) -> dict[str, Tensor]:
        """Returns what training changes in the layer, by name: weights, bias, running statistics."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor) and not name.endswith("_")}

    def layer_before(self, key: str, name: str, kind: type[U]) -> U:
        """Returns the layer of a kind that a setting names.

        Raises:
            ConfigError: there is no layer of that kind and name before this one.
        """
        units: list[Unit] = [] if self.workflow is None else self.workflow.units
        for unit in units[: units.index(self)]:
            if unit.name == name and isinstance(unit, kind):
                return unit
        raise ConfigError(f"layers.{self.name}.{key}={name!r} is no layer of type {kind.__name__} before it")


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

    view_group = "trainer"

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
        optimizer: updates weights and bias instead of `SGD`, whose settings then have no meaning.
        learning_rate, weights_decay, l1_vs_l2, gradient_moment: of the weights, as in `SGD`.
        learning_rate_bias, weights_decay_bias, l1_vs_l2_bias, gradient_moment_bias: of the bias; what is None is as for the
            weights.
    """

    BY_LAYER = frozenset(
        name + suffix for name in ("learning_rate", "weights_decay", "l1_vs_l2", "gradient_moment") for suffix in ("", "_bias")
    )

    adjustable = BY_LAYER

    def __init__(
        self,
        workflow: Workflow,
        forward: Forward,
        *,
        needs_err_input: bool = True,
        optimizer: TorchStep | None = None,
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
        self.weights_step: Step = SGD(learning_rate) if optimizer is None else optimizer.fresh()
        self.bias_step: Step = SGD(learning_rate) if optimizer is None else optimizer.fresh()
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
        for step, suffix in self.steps():
            if isinstance(step, SGD):
                self._set(step, suffix)

    def _set(self, step: SGD, suffix: str) -> None:
        for field, name in (
            ("rate", "learning_rate"),
            ("decay", "weights_decay"),
            ("l1", "l1_vs_l2"),
            ("moment", "gradient_moment"),
        ):
            value = self.settings[name + suffix]
            setattr(step, field, self.settings[name] if value is None else value)

    def steps(self) -> list[tuple[Step, str]]:
        """Returns what updates each parameter, with `_bias` where the settings of the bias are its own."""
        return [(self.weights_step, ""), (self.bias_step, "_bias")]

    def update(self, forward: Any, weights_gradient: Tensor, bias_gradient: Tensor | None) -> None:
        """Updates the weights and the bias of the layer with their gradients."""
        self.weights_step.update(forward.weights, weights_gradient, self.rate_factor)
        if bias_gradient is not None:
            self.bias_step.update(forward.bias, bias_gradient, self.rate_factor)
