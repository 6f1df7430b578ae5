"""Copies of modules, and whether their own classes give their states and take them back, before a run depends on it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from runner import places
from runner.errors import ConfigError
from runner.snapshots.capture.tensors import added_to

_STATE = {"__getstate__", "__setstate__", "__reduce__", "__reduce_ex__"}
"""Methods by which a class says what its state is."""


def check_state(where: str, target: str, module: torch.nn.Module) -> None:
    """Raises a ConfigError if a class of the user's own fails to give its state, or to take it back, or has none for a pickle.

    Of the one the run would tell at its first snapshot, and of the other only when somebody goes on with it.
    """
    if (part := next((name for name, part in module.named_modules() if is_parametrized(part)), None)) is not None:
        raise ConfigError(
            f"{where}: {target} cannot be kept in a snapshot: torch does not pickle a module with parametrizations, which"
            f" {part or 'it'} has: compute the weight in forward()"
        )
    if not any(_has_own_state(type(part)) for part in module.modules()):
        return
    refused = f"{where}: {target} cannot be kept in a snapshot"
    tensors: list[torch.Tensor] = []
    stream = io.BytesIO()
    is_given = False
    try:
        _WithoutTensors(stream, tensors).dump(module)
        is_given = True
        stream.seek(0)
        lost = module.state_dict().keys() - _WithTensors(stream, tensors).load().state_dict().keys()
    except Exception as error:
        if places.is_users(error):
            raise ConfigError(f"{refused}: {places.told(error)}") from error
        if not is_given:
            return  # what cannot be pickled for other reasons, such as a lock, the first snapshot tells
        lost = set(module.state_dict())
    if lost:
        raise ConfigError(f"{refused}: what its __getstate__ gives is without {min(lost)}")


def copied(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy of a module with all that a snapshot of it has.

    Raises:
        Exception: the module holds what cannot be copied, such as a lock.
    """
    memo: dict[int, Any] = {}
    made = copy.deepcopy(module, memo)
    for optimizer in _optimizers(module):
        # Which torch leaves out.
        vars(memo[id(optimizer)]).update(copy.deepcopy(added_to(optimizer), memo))
    return made


def _optimizers(module: torch.nn.Module) -> Iterator[torch.optim.Optimizer]:
    """Yields the optimizers that are attributes of a module or of those within it, or in their lists or dicts."""
    for part in module.modules():
        for value in vars(part).values():
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            yield from (item for item in held if isinstance(item, torch.optim.Optimizer))


def _has_own_state(cls: type) -> bool:
    own = (base for base in cls.__mro__ if base.__module__.partition(".")[0] not in ("torch", "builtins"))
    return any(not _STATE.isdisjoint(vars(base)) for base in own)


class _WithoutTensors(pickle.Pickler):
    """Pickles all but tensors, which it puts into a list."""

    def __init__(self, stream: io.BytesIO, tensors: list[torch.Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, torch.Tensor):
            return None
        self._tensors.append(value)
        return len(self._tensors) - 1


class _WithTensors(pickle.Unpickler):
    """Unpickles what `_WithoutTensors` has pickled a moment ago."""

    def __init__(self, stream: io.BytesIO, tensors: list[torch.Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_load(self, number: int) -> torch.Tensor:
        return self._tensors[number]
