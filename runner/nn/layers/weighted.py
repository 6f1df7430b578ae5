"""What layers with weights have in common: how the weights begin, and how gradients change them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from runner.checks import LARGEST, within
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.memory import memory
from runner.nn.core.random_stream import Stream
from runner.nn.layers.base import Forward, Gradient, Shape
from runner.nn.training.held import Frozen, Held
from runner.nn.training.sgd import SGD
from runner.nn.training.torch_optim import TorchStep

Initializer = tuple[str, float | None]
"""A distribution, and its size where that is given."""

Step = SGD | TorchStep | Held | Frozen


class WeightedForward(Forward):
    """A layer with weights and a bias, which are drawn when they are first needed.

    Attributes:
        weights: the weights, on the device; None before `initialize()`.
        bias: the bias, or None.

    Args:
        weights_filling, bias_filling: the distribution: `uniform`, `gaussian` or `constant`.
        weights_stddev, bias_stddev: the limit of a uniform distribution, the standard deviation of a gaussian one, or the
            constant. Default: chosen by `default_stddev`.
        default_stddev: `inputs` for 1 / sqrt(inputs of an output); `veles` for VELES's choice.
        include_bias: whether there is a bias.
    """

    initializers: dict[str, Initializer]
    default_stddev: str
    include_bias: bool
    stream: Stream
    weights: Tensor | None
    bias: Tensor | None

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
        sizes = (None if size is None else float(size) for size in (weights_stddev, bias_stddev))
        self.initializers = dict(
            zip(("weights", "bias"), zip((weights_filling, bias_filling), sizes, strict=True), strict=True)
        )
        self.default_stddev = default_stddev
        self.include_bias = include_bias
        # A stream of its own: another layer, before or after, does not change how this one begins.
        self.stream = Stream(seed, name)
        self.weights = None
        self.bias = None

    def initialize_parameters(
        self, shape: Shape, outputs: int, memory_format: torch.memory_format = torch.contiguous_format
    ) -> None:
        """Draws the weights and the bias if there are none yet, and brings them to the device.

        Args:
            shape: of the weights; what follows the first dimension are the inputs of an output.
            outputs: the length of the bias.
            memory_format: of the weights.
        """
        self._check_shape(shape)
        if self.weights is None:
            inputs = math.prod(shape[1:])
            # `contiguous` would leave the strides of a single channel alone, from which torch tells the format of the output.
            self.weights = self.drawn("weights", shape, inputs).to(memory_format=memory_format)
            self.bias = self.drawn("bias", (outputs,), inputs) if self.include_bias else None
        self.weights = self.fitting("weights", shape)
        self.bias = None if self.bias is None else self.fitting("bias", (outputs,))

    def _check_shape(self, shape: Shape) -> None:
        """Raises a ConfigError for weights that nobody can have, whether the configuration or a snapshot says so."""
        for parameter, (_, size) in self.initializers.items():
            within(f"layers.{self.name}.{parameter}_stddev", size, -LARGEST)
        if not shape or min(shape) < 1:
            raise ConfigError(
                f"layers.{self.name}: weights of shape {shape} are none; its outputs have the shape {self.output_shape}"
            )
        if (size := math.prod(shape) * self.dtype.itemsize) > memory():
            raise ConfigError(f"layers.{self.name}: weights of shape {shape} take {size:,} bytes, more than this machine has")

    def drawn(self, parameter: str, shape: Shape, inputs: int) -> Tensor:
        """Returns how a parameter begins; `inputs` are those of an output."""
        distribution, size = self.initializers[parameter]
        size = self._default_size(inputs) if size is None else size
        match distribution:
            case "uniform":
                return self.stream.uniform(shape, size, self.dtype)
            case "gaussian":
                return self.stream.gaussian(shape, size, self.dtype)
            case _:
                return torch.full(shape, size, dtype=self.dtype)

    def _default_size(self, inputs: int) -> float:
        """Returns the size of a distribution for which none is given."""
        if self.default_stddev == "inputs":
            return 1 / math.sqrt(inputs)
        # In VELES the bias takes the size of the weights.
        distribution, given = self.initializers["weights"]
        size, limit = self.veles_size(inputs)
        return min(size / 3 if distribution == "gaussian" else size, limit) if given is None else given

    def veles_size(self, inputs: int) -> tuple[float, float]:
        """Returns the limit of the uniform distribution that VELES chooses for the weights, and the highest that it takes."""
        return 1 / math.sqrt(inputs), 0.05


class WeightedGradient(Gradient):
    """The backward step of a layer with weights, which are updated in place.

    Attributes:
        rate_factor: multiplies the learning rates; a learning-rate policy sets it.
        steps: what updates each parameter, by its name.
        settings: the keyword arguments of gradient descent, as they are now.
        squares_: where the squared norms of the next gradients are put, for whoever wants to know them.
        collect_: takes the gradients instead of the parameters, where those of several shards are summed first.

    Args:
        needs_err_input: false if nobody reads the error at the input.
        held: whether gradients are kept for the network's optimizer; the settings of `SGD` then have no meaning.
        learning_rate, weights_decay, l1_vs_l2, gradient_momentum: of the weights, as in `SGD`.
        learning_rate_bias, weights_decay_bias, l1_vs_l2_bias, gradient_momentum_bias: of the bias; None: as for the weights.
        factor_ortho: `ortho` of the weights, as in `SGD`; the bias has none.
    """

    BY_LAYER = frozenset(
        name + suffix
        for name in ("learning_rate", "weights_decay", "l1_vs_l2", "gradient_momentum")
        for suffix in ("", "_bias")
    )

    adjustable = BY_LAYER | {"factor_ortho"}

    rate_factor: float
    steps: dict[str, Step]
    settings: dict[str, float | None]
    squares_: list[Tensor] | None
    collect_: Callable[[str, Tensor], None] | None

    def __init__(
        self,
        workflow: Workflow,
        forward: Forward,
        *,
        needs_err_input: bool = True,
        held: bool = False,
        learning_rate: float = 0.01,
        learning_rate_bias: float | None = None,
        weights_decay: float = 0.0,
        weights_decay_bias: float | None = 0.0,
        l1_vs_l2: float = 0.0,
        l1_vs_l2_bias: float | None = None,
        gradient_momentum: float = 0.0,
        gradient_momentum_bias: float | None = None,
        factor_ortho: float = 0.0,
    ) -> None:
        super().__init__(workflow, forward, needs_err_input=needs_err_input)
        self.rate_factor = 1.0
        self.steps = {name: Held() if held else SGD(0.0) for name in self.parameter_names()}
        self.settings = {"factor_ortho": float(factor_ortho)}
        self.reconfigure(
            learning_rate=learning_rate,
            learning_rate_bias=learning_rate_bias,
            weights_decay=weights_decay,
            weights_decay_bias=weights_decay_bias,
            l1_vs_l2=l1_vs_l2,
            l1_vs_l2_bias=l1_vs_l2_bias,
            gradient_momentum=gradient_momentum,
            gradient_momentum_bias=gradient_momentum_bias,
        )

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.squares_ = None
        self.collect_ = None

    def initialize(self) -> None:
        for parameter, step in self.steps.items():
            step.check(f"layers.{self.forward.name}, {parameter}")

    def parameter_names(self) -> list[str]:
        """Returns the names of the parameters that are updated."""
        return ["weights", "bias"]

    def parameters(self) -> dict[str, Tensor]:
        """Returns the parameters that there are, by name; after `initialize()` of the layer."""
        found = {name: getattr(self.forward, name) for name in self.parameter_names()}
        return {name: value for name, value in found.items() if value is not None}

    def full_name(self, parameter: str) -> str:
        """Returns the name that a parameter has in the network: `fc1.bias`."""
        return f"{self.forward.name}.{parameter}"

    def full_names(self, *kinds: type[Step]) -> list[str]:
        """Returns the names of the parameters in the network, of those kinds of steps alone if any are given."""
        without = {"bias"} if getattr(self.forward, "include_bias", True) is False else set()
        return [
            self.full_name(name)
            for name, step in self.steps.items()
            if name not in without and isinstance(step, kinds or object)
        ]

    def freeze(self, parameter: str) -> None:
        """Has a parameter stay as it is."""
        self.steps[parameter] = Frozen()

    def rates(self) -> list[float]:
        """Returns the learning rates that are in force."""
        return [step.rate * self.rate_factor for step in self.steps.values() if isinstance(step, SGD | TorchStep)]

    def is_bias(self, parameter: str) -> bool:
        """Returns whether a parameter has the settings of a bias."""
        return parameter == "bias"

    def reconfigure(self, **changes: Any) -> None:
        self.check_adjustable(changes)
        self.settings |= {name: None if value is None else float(value) for name, value in changes.items()}
        for parameter, step in self.steps.items():
            if isinstance(step, SGD):
                self._set(step, self.is_bias(parameter))

    def _set(self, step: SGD, bias: bool) -> None:
        step.rate = self._setting("learning_rate", bias)
        step.decay = self._setting("weights_decay", bias)
        step.l1 = self._setting("l1_vs_l2", bias)
        step.momentum = self._setting("gradient_momentum", bias)
        step.ortho = 0.0 if bias else self._setting("factor_ortho", bias)

    def _setting(self, name: str, bias: bool) -> float:
        own = self.settings[f"{name}_bias"] if bias else None
        value = self.settings[name] if own is None else own
        assert value is not None
        return value

    def apply(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        """Updates a parameter with its gradient. Every gradient that is a tensor meets its parameter here."""
        if self.collect_ is None:
            self.update(name, parameter, gradient)
        else:
            self.collect_(name, gradient)

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        """Updates a parameter with the gradient of the whole minibatch."""
        if self.squares_ is not None and not isinstance(self.steps[name], Frozen):
            self.squares_.append(gradient.square().sum(dtype=torch.float64))
        self.steps[name].update(parameter, gradient, self.rate_factor)

    def apply_product(self, name: str, parameter: Tensor, error: Tensor, inputs: Tensor) -> None:
        """Updates a matrix whose gradient is error^T inputs.

        `SGD` does so within the matrix product: the gradient is never stored, which saves a pass over memory. Whatever needs
        the gradient itself takes the way of all others, by `apply`.
        """
        step = self.steps[name]
        if isinstance(step, SGD) and self.collect_ is None:
            if self.squares_ is not None:
                self.squares_.append(torch.mm(error.t(), inputs).square().sum(dtype=torch.float64))
            step.update_fused(parameter, error, inputs, self.rate_factor)
        elif not isinstance(step, Frozen):
            self.apply(name, parameter, torch.mm(error.t(), inputs))
