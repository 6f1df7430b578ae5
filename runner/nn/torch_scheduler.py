"""Any scheduler of `torch.optim.lr_scheduler`, by epoch or by minibatch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from runner import places
from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Linked, Unit, Workflow
from runner.nn.network_optimizer import NetworkOptimizer
from runner.targets import TARGET, locate


class Scheduler(Unit):
    """Changes the learning rates of the network's optimizer, and whatever else the scheduler changes.

    Linked attributes:
        history: for each epoch, the error of each split.
        monitor: the split whose error `ReduceLROnPlateau` gets.

    Attributes:
        scheduler: torch's; None before `initialize()`.

    Args:
        optimizer: the network's.
        settings: `_target_` and the arguments without the optimizer. An argument that has a `_target_` itself, or is a list of
            such, is another scheduler of the same optimizer.
        by_minibatch: whether it takes a step after each update, instead of each epoch.

    Raises:
        ConfigError: a class is no scheduler, or does not take the arguments.
    """

    view_group = "trainer"

    history: Linked[list[dict[str, float]]]
    monitor: Linked[str]
    optimizer: NetworkOptimizer
    by_minibatch: bool
    scheduler: LRScheduler | None

    def __init__(
        self, workflow: Workflow, optimizer: NetworkOptimizer, settings: Mapping[str, Any], *, by_minibatch: bool = False
    ) -> None:
        super().__init__(workflow, "scheduler")
        self.optimizer = optimizer
        self.by_minibatch = by_minibatch
        self.scheduler = None
        self.settings_: Mapping[str, Any] | None = settings
        made = _made("scheduler", settings, optimizer.tried())
        if by_minibatch and isinstance(made, ReduceLROnPlateau):
            raise ConfigError("scheduler.by_minibatch=true: ReduceLROnPlateau looks at the error of an epoch")
        self.demand("history", "monitor")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.settings_ = None

    def initialize(self) -> None:
        if self.scheduler is None:
            if self.settings_ is None or self.optimizer.optimizer is None:
                raise SnapshotMismatchError("the scheduler in the snapshot was never made")
            self.scheduler = _made("scheduler", self.settings_, self.optimizer.optimizer)

    def run(self) -> None:
        assert self.scheduler is not None
        if self.by_minibatch and not self.optimizer.stepped:
            return
        with warnings.catch_warnings():
            # Torch does not know that a restored optimizer has taken its steps before.
            warnings.simplefilter("ignore", UserWarning)
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(self.history[-1][self.monitor])
            else:
                self.scheduler.step()


def _made(where: str, settings: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> LRScheduler:
    own = {key: _argument(f"{where}.{key}", value, optimizer) for key, value in settings.items() if key != TARGET}
    target = settings.get(TARGET)
    if not isinstance(target, str):
        raise ConfigError(f"{where} has no {TARGET}: name a class, such as torch.optim.lr_scheduler.CosineAnnealingLR")
    cls: Any = locate(f"{where}.{TARGET}", target, LRScheduler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            made: LRScheduler = cls(optimizer=optimizer, **own)
    except Exception as error:  # the user's own class may fail in any way
        raise ConfigError(f"{where}: {target} cannot be made: {places.told(error)}") from error
    return made


def _argument(where: str, value: Any, optimizer: torch.optim.Optimizer) -> Any:
    if isinstance(value, Mapping) and TARGET in value:
        return _made(where, value, optimizer)
    if isinstance(value, list | tuple):
        return [_argument(f"{where}[{number}]", item, optimizer) for number, item in enumerate(value)]
    return value
