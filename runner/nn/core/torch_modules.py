"""Makes modules of torch of what the configuration says of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from runner import places
from runner.errors import ConfigError
from runner.nn.core.own_state import check_state
from runner.nn.core.random_stream import Stream
from runner.targets import TARGET, find


def made(where: str, settings: Mapping[str, Any], generator: Stream) -> torch.nn.Module:
    """Returns the module that settings describe.

    Args:
        where: the key of the settings, for messages.
        settings: `_target_` and the arguments, for `hydra.utils.instantiate`.
        generator: its seed is that of torch's global generator while the module is made.

    Raises:
        ConfigError: it cannot be made, or is not a module.
    """
    from hydra.utils import instantiate

    target = settings[TARGET]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.generator_.initial_seed())
        try:
            module = instantiate(dict(settings), _convert_="all")
        except Exception as error:
            if isinstance(places.cause(error), ImportError):
                find(f"{where}.{TARGET}", target)  # says which part of the name is wrong
            if isinstance(sys.modules.get(target), ModuleType):
                raise ConfigError(f"{where}.{TARGET}={target} is a module, and no class: type {target}.NAME") from error
            raise ConfigError(f"{where}: {target} cannot be made: {places.told(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"{where}.{TARGET}={target} is not a torch.nn.Module")
    if "_parameters" not in vars(module):
        raise ConfigError(f"{where}: {target} does not call super().__init__() in its __init__: begin with it")
    if lazy := [name for name, value in module.named_parameters() if is_lazy(value)]:
        raise ConfigError(f"{where}: {target} leaves the shape of {lazy[0]} to its first input: type its size")
    if (name := next((name for name, value in module.named_parameters() if value.is_complex()), None)) is not None:
        raise ConfigError(
            f"{where}: {target} has the parameter {name} of complex numbers, which no run trains: keep it as two real ones,"
            " which torch.view_as_complex() puts together in forward()"
        )
    check_state(where, target, module)
    return module


def place(module: torch.nn.Module, device: torch.device, precision: torch.dtype) -> None:
    """Moves a module to a device, and gives its numbers the precision of a run, where `Module.to` makes complex ones real."""

    def placed(value: Tensor) -> Tensor:
        dtype = precision.to_complex() if value.is_complex() else precision if value.is_floating_point() else value.dtype
        return value.to(device, dtype)

    module._apply(placed)  # type: ignore[no-untyped-call]
