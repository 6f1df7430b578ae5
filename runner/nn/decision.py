"""The decision: keeps the history of errors and says when a run is complete."""

from __future__ import annotations

import logging
import math

from runner.errors import ConfigError
from runner.graph import Bool, Unit, Workflow
from runner.nn.evaluators.evaluator import Evaluator, Metric
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import CLASS_NAMES, TRAIN, VALIDATION

log = logging.getLogger(__name__)


class Decision(Unit):
    """Closes the books of each class of samples and of each epoch.

    Linked attributes:
        minibatch: what this minibatch is.
        class_lengths: samples by class.
        epoch_number: epochs served.
        position: minibatches of the current epoch that are done.

    Attributes for others:
        history: for each epoch, the error by class of samples: the evaluator's metric.
        best, best_epoch: the lowest validation error (training error, where there is no validation set) and its epoch, from 1.
        improved: a Bool, true at the end of an epoch with a new best error.
        complete: a Bool, true when the run is over.

    Args:
        workflow: the workflow.
        evaluator: measures the errors.
        max_epochs: the run is over after so many epochs; never, if None.
        fail_iterations: the run is over after so many epochs without an improvement; never, if None.

    Raises:
        ConfigError: a number below 1.
    """

    view_group = "evaluator"
    adjustable = frozenset({"max_epochs", "fail_iterations"})

    minibatch: Minibatch
    class_lengths: list[int]
    epoch_number: int
    position: int

    def __init__(
        self,
        workflow: Workflow,
        evaluator: Evaluator,
        *,
        max_epochs: int | None = None,
        fail_iterations: int | None = 100,
    ) -> None:
        super().__init__(workflow, "decision")
        self.evaluator = evaluator
        self.history: list[dict[str, float]] = []
        self.errors: dict[str, float] = {}
        self.best: float | None = None
        self.best_epoch = 0
        self.improved = Bool(False)
        self.complete = Bool(False)
        self.max_epochs: int | None = None
        self.fail_iterations: int | None = None
        self.demand("minibatch", "class_lengths", "epoch_number", "position")
        self.reconfigure(max_epochs=max_epochs, fail_iterations=fail_iterations)

    def reconfigure(self, **changes: object) -> None:
        for name, value in changes.items():
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"decision.{name}={value} must be at least 1 (epochs)")
        super().reconfigure(**changes)
        if self.history:
            self.complete <<= self._is_complete()

    def run(self) -> None:
        step = self.minibatch
        if not step.last:
            self.improved <<= False
            return
        self.errors[CLASS_NAMES[step.sample_class]] = self.evaluator.take(step.sample_class)
        if step.epoch_ends:
            self._close_epoch()

    def _close_epoch(self) -> None:
        self.history.append(self.errors)
        error = self.errors[self.watched]
        self.improved <<= error < (math.inf if self.best is None else self.best)
        if self.improved:
            self.best, self.best_epoch = error, len(self.history)
        self.complete <<= self._is_complete()
        log.info("Epoch %d: %s%s", len(self.history), self.metric.line(self.errors), "  (best so far)" if self.improved else "")
        self.errors = {}

    def _is_complete(self) -> bool:
        epochs = len(self.history)
        return self._reached(epochs, self.max_epochs) or self._reached(epochs - self.best_epoch, self.fail_iterations)

    @staticmethod
    def _reached(epochs: int, limit: int | None) -> bool:
        return limit is not None and epochs >= limit

    @property
    def limit(self) -> tuple[str, int]:
        """The setting that ends the run, or would end it first, and its value."""
        epochs = len(self.history)
        if self.max_epochs is not None and (self.fail_iterations is None or self._reached(epochs, self.max_epochs)):
            return "max_epochs", self.max_epochs
        return "fail_iterations", self.fail_iterations or 0

    @property
    def metric(self) -> Metric:
        """What the errors are."""
        return self.evaluator.metric

    @property
    def watched(self) -> str:
        """The class of samples whose error is watched."""
        return CLASS_NAMES[VALIDATION if self.class_lengths[VALIDATION] else TRAIN]

    @property
    def snapshot_suffix(self) -> str:
        """The errors of the epoch that has just ended, such as `validation_1.48_train_0.05`; else the position within it."""
        if self.position == 0 and self.history:
            errors = self.history[-1]
            return "_".join(f"{name}_{self.metric.number(errors[name])}" for name in ("validation", "train") if name in errors)
        return f"epoch_{self.epoch_number + 1}_minibatch_{self.position}"
