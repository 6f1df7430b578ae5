"""Any module of torch as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from runner import places
from runner.errors import ConfigError, RunError, StateError
from runner.graph import Linked, Workflow
from runner.nn.core import parts
from runner.nn.core.own_state import copied
from runner.nn.core.parts import Part
from runner.nn.core.random_stream import Stream
from runner.nn.core.torch_modules import made, place
from runner.nn.layers.base import OUTPUT, Forward
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.held import Frozen

SAMPLES = 3
"""The number of samples with which a module is tried out."""


class Module(Forward):
    """A `torch.nn.Module`; autograd makes its backward step, within this layer.

    Its input has the shape (samples, *input_shape), or is a tuple or a dict. What it returns may be one, too: `outputs` names
    what the loss takes of it, and the first of these is the output of the network.

    Random numbers that it draws in training come from the global generator, which is part of snapshots, as are the module and
    its buffers.

    Linked attributes:
        input_dtype: the type of the input, if it is another one than that of the weights.
        input_parts: those of a sample that is a row of several; empty if it is one tensor.

    Attributes:
        module: the module.
        outputs: keys of the dict, or places in the tuple, that the module returns; empty if it returns a tensor.

    Attributes for others:
        further_: what the module returns under the other `outputs`. A loss puts its gradients there.

    Args:
        seed: the seed of the run; the module's parameters depend on it and on the name.
        module: `_target_` and the arguments, for `hydra.utils.instantiate`.

    Raises:
        ConfigError: it cannot be made, or is not a module; at `initialize()`, it does not accept the input.
    """

    module: torch.nn.Module
    input_dtype: Linked[torch.dtype]
    input_parts: Linked[Sequence[Part]] = ()
    outputs: Sequence[str | int] = ()
    further_: list[Tensor]

    def __init__(self, workflow: Workflow, name: str, *, seed: int, module: Mapping[str, Any]) -> None:
        super().__init__(workflow, name)
        self.module = made(f"layers.{name}", module, Stream(seed, name))

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.follows_layers_ = True

    def choose(self, outputs: Any) -> None:
        names = outputs if isinstance(outputs, list | tuple) else [outputs]
        if not names or any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
            raise ConfigError(
                f"loss.{OUTPUT}={outputs!r} must be a key of the dict, or a place in the tuple, or a list of such"
            )
        self.outputs = list(names)

    def initialize(self) -> None:
        place(self.module, self.device, self.dtype)
        self.module.eval()
        # A module that has no use for integers, such as one of weights alone, gets numbers of the run's precision.
        first, *others = dict.fromkeys((getattr(self, "input_dtype", self.dtype), self.dtype))
        if self.input_parts:
            parts.check_restored(f"layers.{self.name}", self.input_parts, self.input_shape)
            others = []  # each part has a type of its own
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
        samples = self.given(torch.zeros((SAMPLES, *self.input_shape), device=self.device, dtype=dtype))
        own = {name for name, _ in self.module.named_parameters()}
        refused = f"{self._told} does not take samples of {parts.told(self.input_parts) or self.input_shape}"
        try:
            with torch.no_grad():
                result = (tried := self._copy())(samples)
        except Exception as error:
            raise ConfigError(f"{refused}: {places.told(error)}") from error
        if late := dict(tried.named_parameters()).keys() - own:
            raise ConfigError(f"{self._told} makes {min(late)} in forward(), so it would never learn: make it in __init__()")
        try:
            output, *self.further_ = self.chosen(result)
        except TypeError as error:
            raise ConfigError(f"{self._told} {error}") from None
        shape = tuple(output.shape)
        if shape[:1] != (SAMPLES,):
            raise ConfigError(f"{refused}: it makes {shape} of {SAMPLES} of them")
        return shape[1:]

    def _copy(self) -> torch.nn.Module:
        """Returns a module to try samples on: a restored one must not count them, or draw numbers of its own for them."""
        try:
            return copied(self.module)
        except Exception:  # it holds what cannot be copied, such as a lock
            return self.module

    @property
    def _told(self) -> str:
        return f"layers.{self.name} ({type(self.module).__name__})"

    def given(self, rows: Tensor) -> parts.Given:
        """Returns samples as the module takes them."""
        return parts.taken_apart(self.input_parts, rows, self.dtype)

    def chosen(self, result: Any) -> list[Tensor]:
        """Returns of what the module has returned what the loss takes.

        Raises:
            TypeError: it is not there, or is not a tensor of the run's precision.
        """
        found = parts.chosen(result, self.outputs)
        if (wrong := next((value.dtype for value in found if value.dtype != self.dtype), None)) is not None:
            raise TypeError(f"returns values of {wrong}, and the run has {self.dtype}: end forward() with .to(x.dtype), or so")
        return found

    def tensors(self) -> dict[str, Tensor]:
        # `get_extra_state()` of a class of the user's own may give anything.
        return {name: value for name, value in self.module.state_dict().items() if isinstance(value, Tensor)}

    def run(self) -> None:
        if self.module.training == bool(self.evaluating):  # walks through all modules
            self.module.train(not self.evaluating)
        leaf = self.input_.detach().to(self.taken_)
        self.leaf_ = leaf.requires_grad_(self.follows_layers_ and leaf.is_floating_point() and not self.evaluating)
        with torch.set_grad_enabled(not self.evaluating):
            try:
                result = self.module(self.given(self.leaf_))
            except Exception as error:
                raise self._failed(len(self.leaf_), error) from error
        try:
            self.results_ = self.chosen(result)
        except TypeError as error:
            raise RunError(f"{self._told} {error}") from None
        self.output_, *self.further_ = [value.detach() for value in self.results_]

    def _failed(self, samples: int, error: Exception) -> RunError:
        """Returns what ends the run; some modules, such as batch normalization, cannot learn from one sample alone."""
        hint = ": a last minibatch of one sample can be avoided by another loader.minibatch_size" if samples == 1 else ""
        return RunError(f"{self._told} fails on a minibatch of {samples}{hint}: {places.told(error)}")


class ModuleWeights(WeightedGradient):
    """The update of the parameters of a module, for which autograd has made gradients. Those with one dimension are biases."""

    adjustable = WeightedGradient.BY_LAYER

    @property
    def module(self) -> torch.nn.Module:
        """The module."""
        raise NotImplementedError

    def initialize(self) -> None:
        super().initialize()
        self.named_ = list(self.module.named_parameters())

    def __getstate__(self) -> dict[str, Any]:
        held = dict(vars(self).get("named_", ()))
        for name, parameter in self.module.named_parameters() if held else ():
            if held.get(name) is not parameter:
                raise StateError(
                    f"{type(self.module).__name__}.{name} is another parameter than when the run began, and does not learn:"
                    " change its values in place, and make all parameters in __init__()"
                )
        return super().__getstate__()

    def parameter_names(self) -> list[str]:
        return [name for name, _ in self.module.named_parameters()]

    def parameters(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters())

    def freeze(self, parameter: str) -> None:
        super().freeze(parameter)
        self.module.get_parameter(parameter).requires_grad_(False)

    def is_bias(self, parameter: str) -> bool:
        return self.module.get_parameter(parameter).dim() == 1

    @torch.no_grad()
    def apply_gradients(self) -> None:
        """Updates the parameters that have a gradient, which they lose."""
        for name, parameter in self.named_:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                self.apply(name, parameter, gradient)


class ModuleGradient(ModuleWeights):
    """The backward step of `Module`."""

    forward: Module

    @property
    def module(self) -> torch.nn.Module:
        return self.forward.module

    def initialize(self) -> None:
        super().initialize()
        self.forward.follows_layers_ = self.needs_err_input  # the gradient of its input costs as much as that of its weights

    @property
    def _is_frozen(self) -> bool:
        return bool(self.steps) and all(isinstance(step, Frozen) for step in self.steps.values())

    def run(self) -> None:
        forward = self.forward
        learned = self._learned()
        if not learned and (self._is_frozen or not (self.steps or self.needs_err_input)):
            self.err_input_ = torch.zeros_like(forward.leaf_)
            return
        if not learned:
            raise RunError(
                f"layers.{forward.name} ({type(forward.module).__name__}) gives a result without a gradient: forward() must not"
                " use torch.no_grad(), .detach(), .item() or numpy on the way to it"
            )
        torch.autograd.backward([result for result, _ in learned], [error for _, error in learned])
        leaf, forward.results_ = forward.leaf_, []
        if self.needs_err_input:
            self.err_input_ = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        self.apply_gradients()

    def _learned(self) -> list[tuple[Tensor, Tensor]]:
        """Returns what the module has returned, where it has a gradient, and the error of each."""
        first, *others = self.forward.results_
        errors = [self.err_output_.reshape(first.shape), *(value.grad for value in self.forward.further_)]
        return [
            (result, error)
            for result, error in zip([first, *others], errors, strict=True)
            if result.requires_grad and error is not None
        ]
