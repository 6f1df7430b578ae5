"""What all layers have in common: a forward unit, and the gradient unit that belongs to it."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Bool, Linked, Unit, Workflow
from runner.nn.core.network_unit import NetworkUnit

Shape = tuple[int, ...]
U = TypeVar("U", bound=Unit)

OUTPUT = "output"
"""The key of `loss` that names what it takes of a tuple or a dict."""


class Forward(NetworkUnit):
    """The forward step of a layer.

    Linked attributes:
        input_: the minibatch from the unit before, of shape (samples, *input_shape).
        input_shape: the shape of one sample of it.
        evaluating: true when the minibatch is not for training.

    Attributes:
        rows_: which samples of the minibatch the input is, where it is a shard; None for all.

    Attributes for others:
        output_: the result, of shape (samples, *output_shape).
        output_shape: the shape of one sample of it; known after `initialize()`.
    """

    input_: Linked[Tensor]
    input_shape: Linked[Shape]
    evaluating: Linked[Bool]
    output_: Tensor
    output_shape: Shape
    rows_: slice | None

    def __init__(self, workflow: Workflow, name: str) -> None:
        super().__init__(workflow, name)
        self.demand("input_", "input_shape", "evaluating")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.rows_ = None

    def draw(self, samples: int) -> None:
        """Draws the random numbers of a whole minibatch of training, of which each shard takes its rows.

        So the numbers do not depend on which shards this process computes. Called only where a minibatch has shards.
        """

    def choose(self, outputs: Any) -> None:
        """Says which parts of a tuple or a dict, which the layer gives, the loss takes; the first is the output.

        Raises:
            ConfigError: the layer gives a tensor alone.
        """
        raise ConfigError(
            f"loss.{OUTPUT}={outputs!r} is for a module that returns a tuple or a dict, and not for layers.{self.name}"
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns what training changes in the layer, by name: weights, bias, running statistics."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor) and not name.endswith("_")}

    def fitting(self, name: str, shape: Shape) -> Tensor:
        """Returns a tensor of the state on the device.

        Raises:
            SnapshotMismatchError: it is not of this shape and of the network's precision, as kernels of torch rely on.
        """
        value: Tensor = getattr(self, name)
        if value.shape != shape or value.dtype != self.dtype or value.layout != torch.strided:
            raise SnapshotMismatchError(
                f"layers.{self.name}: its {name} in the snapshot are {value.dtype} of {tuple(value.shape)}, and the layer needs"
                f" {self.dtype} of {shape}"
            )
        return value.to(self.device)

    def as_module(self) -> torch.nn.Module:
        """Returns a module that computes what the layer does in evaluation, with parameters of its own.

        A layer of your own overrides it, to be part of `restore(...).model()`. It is called after `initialize()`.

        Raises:
            ConfigError: nobody has said what the module is.
        """
        raise ConfigError(
            f"layers.{self.name} is of the class {type(self).__name__}, which does not say what it is as a module of torch:"
            f" define {type(self).__name__}.as_module()"
        )

    def layer_before(self, key: str, name: str, kind: type[U]) -> U:
        """Returns the layer of a kind that a setting names.

        Raises:
            ConfigError: no layer of that kind and name comes before this one.
        """
        units: list[Unit] = [] if self.workflow is None else self.workflow.units
        for unit in units[: units.index(self)]:
            if unit.name == name and isinstance(unit, kind):
                return unit
        raise ConfigError(f"layers.{self.name}.{key}={name!r} is not the name of a {kind.__name__} layer before it")


class Gradient(NetworkUnit):
    """The backward step of a layer: the error at its input, and the update of its weights.

    Linked attributes:
        err_output_: the error at the layer's output, from the gradient unit that runs before, or from the evaluator.

    Attributes for others:
        err_input_: the error at the layer's input.

    Args:
        needs_err_input: false for the first layer with weights, whose error at the input nobody reads.
    """

    view_group = "trainer"

    err_output_: Linked[Tensor]
    err_input_: Tensor
    forward: Forward
    needs_err_input: bool

    def __init__(self, workflow: Workflow, forward: Forward, *, needs_err_input: bool = True) -> None:
        super().__init__(workflow, f"gd_{forward.name}")
        self.forward = forward
        self.needs_err_input = needs_err_input
        self.demand("err_output_")
