"""Roll-back: returns to the best weights when training has not improved for a while."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from runner.checks import at_least, within
from runner.graph import Bool, Linked, Unit, Workflow
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.layers.base import Forward
from runner.nn.network_optimizer import NetworkOptimizer
from runner.nn.schedule import LearningRateAdjuster

log = logging.getLogger(__name__)


class Rollback(Unit):
    """Runs at the end of each epoch: keeps the weights of the best one, and puts them back with lower learning rates.

    Momentum, and everything else that an optimizer remembers, is reset.

    Linked attributes:
        improved: whether this epoch is the best so far.
        diverged: whether this epoch has come to numbers that are not finite: it goes back at once.

    Attributes:
        best: for each layer what training changes in it, by name, as it was at the best epoch.
        failed: epochs since the last improvement or roll-back.

    Args:
        adjuster: its `scale` is lowered.
        forwards: the layers, and a loss that learns.
        optimizer: the network's, if it has one.
        fail_iterations: epochs without an improvement after which it goes back.
        lr_minus: factor on all learning rates each time.
    """

    adjustable = frozenset({"fail_iterations", "lr_minus"})

    improved: Linked[Bool]
    diverged: Linked[bool] = False
    adjuster: LearningRateAdjuster
    forwards: list[Forward | LossEvaluator]
    optimizer: NetworkOptimizer | None = None
    fail_iterations: int
    lr_minus: float
    best: list[dict[str, Tensor]]
    failed: int

    def __init__(
        self,
        workflow: Workflow,
        adjuster: LearningRateAdjuster,
        forwards: Sequence[Forward | LossEvaluator],
        optimizer: NetworkOptimizer | None,
        *,
        fail_iterations: int,
        lr_minus: float = 0.65,
    ) -> None:
        super().__init__(workflow, "rollback")
        self.adjuster = adjuster
        self.forwards = list(forwards)
        self.optimizer = optimizer
        self.reconfigure(fail_iterations=fail_iterations, lr_minus=lr_minus)
        self.best = []
        self.failed = 0
        self.demand("improved")

    def reconfigure(self, **changes: Any) -> None:
        super().reconfigure(**changes)
        self.lr_minus = float(self.lr_minus)
        self.initialize()

    def initialize(self) -> None:
        at_least("rollback.fail_iterations", self.fail_iterations, 1, "epochs")
        within("rollback.lr_minus", self.lr_minus, high=1)

    @property
    def went_back(self) -> bool:
        """Whether, at the end of an epoch, the weights are those of the best one again."""
        return bool(self.best) and not self.failed and not self.improved

    def run(self) -> None:
        if self.improved:
            self.best = [{name: value.clone() for name, value in unit.tensors().items()} for unit in self.forwards]
            self.failed = 0
            return
        self.failed += 1
        if (self.failed >= self.fail_iterations or self.diverged) and self.best:
            self._go_back()

    def _go_back(self) -> None:
        for unit, best in zip(self.forwards, self.best, strict=True):
            for name, value in unit.tensors().items():
                value.copy_(best[name])
        for gradient in self.adjuster.gradients:
            for step in gradient.steps.values():
                step.reset()
        if self.optimizer is not None:
            self.optimizer.reset()
        self.adjuster.scale *= self.lr_minus
        self.failed = 0
        log.info("Rolled back to the best weights; learning rates times %.3g", self.adjuster.scale)
