"""Any optimizer of `torch.optim`, and how it once was the step that updates one parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from runner import places
from runner.checks import choices, first_line, within
from runner.errors import ConfigError
from runner.nn.training.trial import typed


class TorchStep:
    """Updates one parameter with an optimizer of its own, in runs that began before networks had one for all parameters.

    There is an optimizer from the beginning, over a placeholder until the parameter is first updated. So a snapshot names the
    optimizer's class only as the type of an object, never as a value.

    Args:
        optimizer: an optimizer of any parameter, whose class is the one that counts.
        settings: the keyword arguments that it was made with.

    Attributes:
        rate: learning rate.
        optimizer: holds the parameter and its state; part of snapshots.
        device: where the parameter is; None while the optimizer holds the placeholder.
    """

    settings: dict[str, Any]
    optimizer: torch.optim.Optimizer
    rate: float
    device: torch.device | None

    def __init__(self, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> None:
        self.settings = dict(settings)  # each step has its own: a restore refuses attributes that share a container
        self.optimizer = optimizer
        self.rate = float(optimizer.param_groups[0]["lr"])
        self.device = None

    def reset(self) -> None:
        """Forgets all but the settings and the learning rate."""
        self.optimizer, self.device = self._made(placeholder()), None

    def check(self, where: str) -> None:
        """Raises a ConfigError for a learning rate that is not a number, or that no training has."""
        within(f"{where}: lr", self.rate)

    def update(self, parameter: Tensor, gradient: Tensor, factor: float) -> None:
        """Updates a parameter with its gradient, of the same shape; `factor` multiplies the learning rate."""
        if self.device != parameter.device:
            self._take(parameter)
        self.optimizer.param_groups[0]["lr"] = self.rate * factor
        parameter.grad = gradient
        self.optimizer.step()
        parameter.grad = None

    def _take(self, parameter: Tensor) -> None:
        """Makes the parameter the optimizer's; what it remembers of one on another device comes along."""
        before, moved = self.optimizer, self.device is not None
        self.optimizer, self.device = self._made(parameter), parameter.device
        if moved:
            self.optimizer.load_state_dict(before.state_dict())

    def reconfigure(self, key: str, value: Any) -> None:
        """Changes a setting.

        Raises:
            ConfigError: the optimizer has no such setting, or refuses the value.
        """
        settings = self.settings | {key: value}
        (group,) = made(type(self.optimizer), [placeholder()], settings).param_groups
        self.settings = settings
        if key == "lr":
            self.rate = float(value)
        self.optimizer.param_groups[0][key] = group[key]

    def _made(self, parameter: Tensor) -> torch.optim.Optimizer:
        return made(type(self.optimizer), [parameter], self.settings)


def placeholder(device: torch.device | None = None) -> Tensor:
    """Returns a parameter on which settings are tried."""
    # Two dimensions: some optimizers take matrices alone.
    return torch.zeros(1, 1, device=device)


def full_name(cls: type[torch.optim.Optimizer]) -> str:
    """Returns the name of a class with its module."""
    return f"{cls.__module__}.{cls.__qualname__}"


def arguments(cls: type[torch.optim.Optimizer]) -> list[str]:
    """Returns the names of what a class takes besides the parameters."""
    return [*inspect.signature(cls).parameters][1:]


def made(
    cls: type[torch.optim.Optimizer],
    parameters: Sequence[Any],
    settings: Mapping[str, Any],
    *,
    where: str = "optimizer",
    own: Mapping[str, Any] | None = None,
) -> torch.optim.Optimizer:
    """Returns an optimizer of parameters, or of groups of them.

    Args:
        cls: its class.
        parameters: the parameters, or the groups.
        settings: the arguments of the class.
        where: the key of what may be wrong, for messages.
        own: what is set there in place of `settings`, and so may be wrong; default: all of them.

    Raises:
        ConfigError: the class needs a closure, has no learning rate, or does not take the settings.
    """
    name = full_name(cls)
    if issubclass(cls, torch.optim.LBFGS):
        raise ConfigError(f"optimizer._target_={name} does not take a step for each minibatch's gradient")
    try:
        optimizer = cls(parameters, **{**settings, **(own or {})})
    except Exception as error:  # the user's own class may fail in any way
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        hint = f"; {choices(unknown[1], arguments(cls))}" if unknown else ""
        given = own or settings
        found = [f"{where}.{key}={value!r}" for key, value in given.items() if isinstance(value, str)]
        texts = f" ({', '.join(found)} is a text)" if found else ""
        if isinstance(error, TypeError | ValueError):
            raise ConfigError(f"{where}: {name} refuses its settings: {first_line(error)}{hint}{texts}") from error
        raise ConfigError(
            f"{where}: {name} refuses its settings {', '.join(typed(where, given))}:"
            f" {places.told(error).removesuffix('.')}; change one of them"
        ) from error
    if "lr" not in optimizer.param_groups[0]:
        raise ConfigError(f"optimizer._target_={name} has no learning rate 'lr'")
    return optimizer
