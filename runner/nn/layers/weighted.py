"""What layers with weights have in common: how they are filled, and how they are updated."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from runner.graph import Workflow
from runner.nn.layers.base import Forward, Gradient
from runner.nn.random_stream import Stream
from runner.nn.training.sgd import SGD
from runner.nn.training.torch_optim import TorchStep

Filling = tuple[str, float | None]
Step = SGD | TorchStep


class WeightedForward(Forward):
    """A layer with weights and a bias, which are filled when they are first needed.

    Attributes:
        weights: the weights, on the device.
        bias: the bias, or None.

    Args:
        workflow: the workflow.
        name: the layer's name.
        seed: the seed of the run.
        weights_filling, bias_filling: `uniform`, `gaussian` or `constant`.
        weights_stddev, bias_stddev: the limit of a uniform filling, the standard deviation of a gaussian one, the value of a
            constant one; chosen by `default_stddev` unless given.
        default_stddev: `inputs` for 1 / sqrt(inputs of an output); `veles` for VELES's choice.
        include_bias: whether there is a bias.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        *,
        seed: int,
        weights_filling: str = "uniform",
        weights_stddev: float | None = None,
        bias_filling: str = "uniform",
        bias_stddev: float | None = None,
        default_stddev: str = "inputs",
        include_bias: bool = True,
    ) -> None:
        super().__init__(workflow, name)
        self.fillings: tuple[Filling, Filling] = ((weights_filling, weights_stddev), (bias_filling, bias_stddev))
        self.default_stddev = default_stddev
        self.include_bias = include_bias
        self.stream = Stream(seed, name)
        self.weights: Tensor | None = None
        self.bias: Tensor | None = None

    def fill(self, shape: tuple[int, ...], outputs: int, memory_format: torch.memory_format = torch.contiguous_format) -> None:
        """Fills the weights and the bias if there are none yet, and brings them to the device.

        Args:
            shape: of the weights; what follows the first dimension are the inputs of an output.
            outputs: the length of the bias.
            memory_format: of the weights.
        """
        if self.weights is None:
            inputs, dtype = math.prod(shape[1:]), getattr(self.workflow, "dtype", torch.float32)
            weights_filling, bias_filling = self.fillings
            # `contiguous` would leave the strides of a single channel alone, from which torch tells the format of the output.
            self.weights = self.filled(shape, weights_filling, inputs, dtype).to(memory_format=memory_format)
            self.bias = self.filled((outputs,), bias_filling, inputs, dtype) if self.include_bias else None
        self.weights = self.weights.to(self.device)
        self.bias = None if self.bias is None else self.bias.to(self.device)

    def filled(self, shape: tuple[int, ...], filling: Filling, inputs: int, dtype: torch.dtype) -> Tensor:
        """Returns a filled tensor; `inputs` are those of an output."""
        kind, size = filling
        size = self._default_size(inputs) if size is None else size
        match kind:
            case "uniform":
                return self.stream.uniform(shape, size, dtype)
            case "gaussian":
                return self.stream.gaussian(shape, size, dtype)
            case _:
                return torch.full(shape, size, dtype=dtype)

    def _default_size(self, inputs: int) -> float:
        """Returns the size of a filling that is not given."""
        size = 1 / math.sqrt(inputs)
        if self.default_stddev == "inputs":
            return size
        # As in VELES's all2all.py and conv.py; the bias takes the size of the weights.
        kind, given = self.fillings[0]
        return min(size / 3 if kind == "gaussian" else size, 0.05) if given is None else given


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
        factor_ortho: `ortho` of the weights, as in `SGD`; the bias has none.
    """

    BY_LAYER = frozenset(
        name + suffix for name in ("learning_rate", "weights_decay", "l1_vs_l2", "gradient_moment") for suffix in ("", "_bias")
    )

    adjustable = BY_LAYER | {"factor_ortho"}

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
        factor_ortho: float = 0.0,
    ) -> None:
        super().__init__(workflow, forward, needs_err_input=needs_err_input)
        self.rate_factor = 1.0
        self.weights_step: Step = SGD(learning_rate) if optimizer is None else optimizer.fresh()
        self.bias_step: Step = SGD(learning_rate) if optimizer is None else optimizer.fresh()
        self.settings: dict[str, Any] = {"factor_ortho": factor_ortho}
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
        step.ortho = 0.0 if suffix else self.settings["factor_ortho"]

    def steps(self) -> list[tuple[Step, str]]:
        """Returns what updates each parameter, with `_bias` where the settings of the bias are its own."""
        return [(self.weights_step, ""), (self.bias_step, "_bias")]

    def update(self, forward: Any, weights_gradient: Tensor, bias_gradient: Tensor | None) -> None:
        """Updates the weights and the bias of the layer with their gradients."""
        self.weights_step.update(forward.weights, weights_gradient, self.rate_factor)
        if bias_gradient is not None:
            self.bias_step.update(forward.bias, bias_gradient, self.rate_factor)
