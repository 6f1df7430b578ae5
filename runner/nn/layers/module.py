"""Any module of torch as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from runner import places
from runner.errors import ConfigError, RunError
from runner.graph import Linked, Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.core.torch_modules import made
from runner.nn.layers.base import Forward
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.held import Frozen

SAMPLES = 3
"""The number of samples with which a module is tried out."""


class Module(Forward):
    """A `torch.nn.Module`; autograd makes its backward step, within this layer.

    Its input has the shape (samples, *input_shape). Random numbers that it draws in training come from the global generator,
    which is part of snapshots, as are the module and its buffers.

    Linked attributes:
        input_dtype: the type of the input, if it is another one than that of the weights.

    Attributes:
        module: the module.

    Args:
        seed: the seed of the run; the module's parameters depend on it and on the name.
        module: `_target_` and the arguments, for `hydra.utils.instantiate`.

    Raises:
        ConfigError: it cannot be made, or is not a module; at `initialize()`, it does not accept the input.
    """

    module: torch.nn.Module
    input_dtype: Linked[torch.dtype]

    def __init__(self, workflow: Workflow, name: str, *, seed: int, module: Mapping[str, Any]) -> None:
        super().__init__(workflow, name)
        self.module = made(f"layers.{name}", module, Stream(seed, name))

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.follows_layers_ = True

    def initialize(self) -> None:
        self.module.to(self.device, self.dtype).eval()
        # A module that has no use for integers, such as one of weights alone, gets numbers of the run's precision.
        first, *others = dict.fromkeys((getattr(self, "input_dtype", self.dtype), self.dtype))
        try:
            self.taken_, shape = first, self._tried(first)
        except ConfigError:
            if not others:
                raise
            self.taken_, shape = self.dtype, self._tried(self.dtype)
        self.output_shape = shape

    def _tried(self, dtype: torch.dtype) -> tuple[int, ...]:
        """Returns the shape that a sample becomes; raises a ConfigError if the module does not take samples of a type."""
        # Several, because some modules mistake a batch of one sample for a sample.
        samples = torch.zeros((SAMPLES, *self.input_shape), device=self.device, dtype=dtype)
        refused = f"layers.{self.name} ({type(self.module).__name__}) does not take samples of {self.input_shape}"
        try:
            with torch.no_grad():
                result = self.module(samples)
        except Exception as error:
            raise ConfigError(f"{refused}: {places.told(error)}") from error
        if (fault := self._fault(result)) is not None:
            raise ConfigError(f"layers.{self.name} ({type(self.module).__name__}) {fault}")
        shape = tuple(result.shape)
        if shape[:1] != (SAMPLES,):
            raise ConfigError(f"{refused}: it makes {shape} of {SAMPLES} of them")
        return shape[1:]

    def _fault(self, result: object) -> str | None:
        """Returns what is wrong with what the module has returned, if anything."""
        if not isinstance(result, Tensor):
            what = f"a {type(result).__name__} of {len(result)}" if isinstance(result, tuple | list) else type(result).__name__
            return f"returns {what} instead of a tensor: forward() must end with one, such as return x"
        if result.dtype != self.dtype:
            return f"returns values of {result.dtype}, and the run has {self.dtype}: end forward() with .to(x.dtype), or so"
        return None

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())

    def run(self) -> None:
        if self.module.training == bool(self.evaluating):  # walks through all modules
            self.module.train(not self.evaluating)
        leaf = self.input_.detach().to(self.taken_)
        self.leaf_ = leaf.requires_grad_(self.follows_layers_ and leaf.is_floating_point() and not self.evaluating)
        with torch.set_grad_enabled(not self.evaluating):
            try:
                self.result_: Tensor = self.module(self.leaf_)
            except Exception as error:
                raise self._failed(len(self.leaf_), error) from error
        if not isinstance(self.result_, Tensor) or self.result_.dtype != self.dtype:
            raise RunError(f"layers.{self.name} ({type(self.module).__name__}) {self._fault(self.result_)}")
        self.output_ = self.result_.detach()

    def _failed(self, samples: int, error: Exception) -> RunError:
        """Returns what ends the run; some modules, such as batch normalization, cannot learn from one sample alone."""
        hint = ": a last minibatch of one sample can be avoided by another loader.minibatch_size" if samples == 1 else ""
        what = f"layers.{self.name} ({type(self.module).__name__}) fails on a minibatch of {samples}"
        return RunError(f"{what}{hint}: {places.told(error)}")


class ModuleGradient(WeightedGradient):
    """The backward step of `Module`. Parameters with one dimension have the settings of a bias."""

    adjustable = WeightedGradient.BY_LAYER

    forward: Module

    def initialize(self) -> None:
        super().initialize()
        self.forward.follows_layers_ = self.needs_err_input  # the gradient of its input costs as much as that of its weights
        self.named_ = list(self.forward.module.named_parameters())

    def parameter_names(self) -> list[str]:
        return [name for name, _ in self.forward.module.named_parameters()]

    def parameters(self) -> dict[str, Tensor]:
        return dict(self.forward.module.named_parameters())

    def freeze(self, parameter: str) -> None:
        super().freeze(parameter)
        self.forward.module.get_parameter(parameter).requires_grad_(False)

    @property
    def _is_frozen(self) -> bool:
        return bool(self.steps) and all(isinstance(step, Frozen) for step in self.steps.values())

    def is_bias(self, parameter: str) -> bool:
        return self.forward.module.get_parameter(parameter).dim() == 1

    def run(self) -> None:
        forward = self.forward
        error = self.err_output_.reshape(forward.result_.shape)
        if not forward.result_.requires_grad and (self._is_frozen or not (self.steps or self.needs_err_input)):
            self.err_input_ = torch.zeros_like(forward.leaf_)
            return
        if not forward.result_.requires_grad:
            raise RunError(
                f"layers.{forward.name} ({type(forward.module).__name__}) gives a result without a gradient: forward() must not"
                " use torch.no_grad(), .detach(), .item() or numpy on the way to it"
            )
        forward.result_.backward(error)  # type: ignore[no-untyped-call]
        leaf, forward.result_ = forward.leaf_, forward.output_
        if self.needs_err_input:
            self.err_input_ = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        with torch.no_grad():
            for name, parameter in self.named_:
                gradient, parameter.grad = parameter.grad, None
                if gradient is not None:
                    self.apply(name, parameter, gradient)
