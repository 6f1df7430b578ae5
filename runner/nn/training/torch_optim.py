"""Any optimizer of `torch.optim` as the step that updates one parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runner.checks import first_line
from runner.errors import ConfigError
from runner.targets import locate


class TorchStep:
    """Updates one parameter with an optimizer of its own, which is made when the parameter is first updated.

    Attributes:
        rate: learning rate; None until the optimizer has told its own.
        optimizer: holds the parameter and its state; part of snapshots.
        device: where the parameter is.

    Args:
        cls: the class of the optimizer.
        settings: its keyword arguments.

    Raises:
        ConfigError: it is no optimizer, or does not take the settings.
    """

    def __init__(self, cls: type[torch.optim.Optimizer], settings: dict[str, Any]) -> None:
        self.cls = cls
        self.settings = settings
        self.rate: float | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.device: torch.device | None = None

    def fresh(self) -> TorchStep:
        """Returns a step of the same kind for another parameter."""
        return TorchStep(self.cls, self.settings)

    def update(self, parameter: Tensor, gradient: Tensor, factor: float) -> None:
        """Updates a parameter with its gradient, of the same shape; `factor` multiplies the learning rate."""
        optimizer = self._of(parameter)
        (group,) = optimizer.param_groups
        if self.rate is None:
            self.rate = float(group["lr"])
        group["lr"] = self.rate * factor
        parameter.grad = gradient
        optimizer.step()
        parameter.grad = None

    def _of(self, parameter: Tensor) -> torch.optim.Optimizer:
        """Returns the optimizer of a parameter; one that was brought to another device has one there, in its state."""
        before = self.optimizer
        if before is not None and self.device == parameter.device:
            return before
        self.optimizer, self.device = self.make(parameter), parameter.device
        if before is not None:
            self.optimizer.load_state_dict(before.state_dict())
        return self.optimizer

    def update_matrix(self, parameter: Tensor, error: Tensor, inputs: Tensor, factor: float) -> None:
        """Updates a matrix whose gradient is error^T inputs."""
        self.update(parameter, torch.mm(error.t(), inputs), factor)

    def forget(self) -> None:
        """Forgets all but the settings."""
        self.optimizer = None

    def make(self, parameter: Tensor) -> torch.optim.Optimizer:
        """Returns an optimizer of the parameter.

        Raises:
            ConfigError: it is no optimizer, needs a closure, or does not take the settings.
        """
        name = f"{self.cls.__module__}.{self.cls.__qualname__}"
        if not issubclass(self.cls, torch.optim.Optimizer) or issubclass(self.cls, torch.optim.LBFGS):
            raise ConfigError(f"optimizer._target_={name} is no optimizer that takes a step for each minibatch's gradient")
        try:
            optimizer = self.cls([parameter], **self.settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimizer: {name} refuses its settings: {first_line(error)}") from error
        if "lr" not in optimizer.param_groups[0]:
            raise ConfigError(f"optimizer._target_={name} has no learning rate 'lr'")
        return optimizer

    def reconfigure(self, key: str, value: Any) -> None:
        """Changes a setting.

        Raises:
            ConfigError: the optimizer has no such setting.
        """
        self.settings = self.settings | {key: value}
        optimizer = self.make(torch.zeros(1, 1))  # checks it
        if key == "lr":
            self.rate = value
        if self.optimizer is not None:
            self.optimizer.param_groups[0][key] = optimizer.param_groups[0][key]


def torch_step(settings: dict[str, Any]) -> TorchStep:
    """Returns the step that the configuration's `optimizer` describes.

    Raises:
        ConfigError: there is no such class, it is no optimizer, or it does not take the settings.
    """
    own = dict(settings)
    target = own.pop("_target_", None)
    if not isinstance(target, str):
        raise ConfigError("optimizer has no _target_: name a class, such as optimizer._target_=torch.optim.AdamW")
    step = TorchStep(locate("optimizer._target_", target, torch.optim.Optimizer), own)
    step.make(torch.zeros(1, 1))  # checks it
    return step
