"""The decision: keeps the history of errors and says when a run is complete."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from runner.checks import at_least, choices
from runner.config.training import check_mode, check_on_nan
from runner.errors import ConfigError, DivergedError
from runner.graph import Bool, Linked, Unit, Workflow
from runner.metrics import Records
from runner.nn import finite
from runner.nn.ending import Ending
from runner.nn.epoch_ended import EpochEnded
from runner.nn.epoch_warnings import EpochWarnings
from runner.nn.evaluators.evaluator import Evaluator, Metric
from runner.nn.evaluators.torch_metrics import TorchMetrics
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import SPLIT_NAMES, TRAIN, VALIDATION
from runner.nn.network_optimizer import NetworkOptimizer
from runner.nn.pending_rows import PendingRows

log = logging.getLogger(__name__)


class Decision(Unit):
    """Records the error of each split and epoch, and ends the run: by a number of epochs, or by early stopping.

    At the end of an epoch it also looks whether losses and weights are finite, and says once when the errors do not move.

    Linked attributes:
        minibatch: which minibatch this is.
        split_lengths: samples in each split.
        epoch_number: epochs served.
        position: minibatches of the current epoch that are done.

    Attributes for others:
        history: for each epoch, the error of each split: the evaluator's metric.
        records: the same as rows, with the loss, the minibatches of training so far, and the learning rate.
        best, best_epoch: the best validation error (training error, without a validation set) and its epoch, from 1.
        improved: a Bool, true at the end of an epoch with a new best error.
        complete: a Bool, true when the run is over.
        diverged_: whether the last epoch is to be rolled back, since a loss or a weight is infinite or not a number.

    Args:
        evaluator: measures the errors.
        scores: measures more.
        monitor: the name of what decides, and so is the error: `loss`, the evaluator's metric, or one of the scores. Default:
            the evaluator's metric.
        mode: whether it is to be low or high: `min` or `max`. Default: what the score says of itself.
        max_epochs: the number of epochs in all. None: no limit.
        fail_iterations: the patience of early stopping: the run is over after this many epochs without an improvement.
            None: no early stopping.
        on_nan: what follows when a loss or a weight is not finite: `stop`, `rollback` or `ignore`.

    Raises:
        ConfigError: a number below 1, or an unknown word.
    """

    version = 2
    view_group = "evaluator"
    adjustable = frozenset({"max_epochs", "fail_iterations", "on_nan"})

    minibatch: Linked[Minibatch]
    split_lengths: Linked[list[int]]
    epoch_number: Linked[int]
    position: Linked[int]
    evaluator: Evaluator
    # Snapshots from before there were scores lack these.
    scores: TorchMetrics | None = None
    measure: str | None = None
    higher: bool = False
    history: list[dict[str, float]]
    errors: dict[str, float]
    records: Records
    minibatches: int
    rate: float | None
    window: list[float]
    best: float | None
    best_epoch: int
    improved: Bool
    complete: Bool
    max_epochs: int | None
    fail_iterations: int | None
    on_nan: str = "stop"
    diverged_: bool
    wrong_: Minibatch | None
    losses_: dict[str, float]
    told_: bool
    warnings_: EpochWarnings
    began_: float

    def __init__(
        self,
        workflow: Workflow,
        evaluator: Evaluator,
        scores: TorchMetrics | None = None,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        max_epochs: int | None = None,
        fail_iterations: int | None = 100,
        on_nan: str = "stop",
    ) -> None:
        super().__init__(workflow, "decision")
        check_mode(mode)
        self.evaluator = evaluator
        self.scores = scores
        self.measure = monitor
        self.higher = mode == "max" if mode is not None else scores is not None and scores.to_be_high(monitor)
        self.history = []
        self.errors = {}
        self.records = Records()
        self.minibatches = 0
        self.rate = None
        self.window = []
        self.best = None
        self.best_epoch = 0
        self.improved = Bool(False)
        self.complete = Bool(False)
        self.max_epochs = None
        self.fail_iterations = None
        self.demand("minibatch", "split_lengths", "epoch_number", "position")
        self.reconfigure(max_epochs=max_epochs, fail_iterations=fail_iterations, on_nan=on_nan)

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.diverged_ = False
        self.wrong_ = None
        self.losses_ = {}
        self.told_ = False
        self.warnings_ = EpochWarnings()
        self.began_ = self.split_began_ = self.row_began_ = time.monotonic()
        self.pending_ = PendingRows()

    def __getstate__(self) -> dict[str, Any]:
        self.pending_.finish(self._units())
        return super().__getstate__()

    def migrate(self, state: dict[str, Any], version: int) -> None:
        # Only errors were kept then, and no minibatches were counted.
        state["records"] = Records()
        state["minibatches"], state["rate"], state["window"] = 0, None, []

    def initialize(self) -> None:
        self.began_ = self.split_began_ = self.row_began_ = time.monotonic()
        if not self.records.epochs:
            for epoch, errors in enumerate(self.history, 1):
                for split, error in errors.items():
                    row: dict[str, Any] = {self.evaluator.metric.name: error}
                    self.records.add_epoch(epoch=epoch, split=split, **row)

    def reconfigure(self, **changes: object) -> None:
        check_on_nan(changes.get("on_nan", self.on_nan))
        super().reconfigure(**changes)
        at_least("decision.max_epochs", self.max_epochs, 1, "epochs")
        at_least("decision.fail_iterations", self.fail_iterations, 1, "epochs")
        if self.history:
            self.complete <<= self.ending.reached

    def check_monitor(self) -> None:
        """Raises a ConfigError if nothing of the name that decides is measured, or an error is to be high."""
        names = dict.fromkeys((self.evaluator.metric.name, "loss", *self._more()))
        if self.measure is not None and self.measure not in names:
            raise ConfigError(f"decision.monitor={self.measure!r} is not measured; {choices(self.measure, names)}")
        own = self.evaluator.metric.name
        if self.higher and self.measure in (None, own, "loss"):
            raise ConfigError(
                f"decision.mode=max keeps the weights with the highest {self.measure or own}, which are the worst: leave it"
                " out, or name a metric of scores with decision.monitor"
            )

    def _more(self) -> list[str]:
        """The names of what is measured besides loss and the evaluator's metric."""
        return [*self.evaluator.extra_names, *(() if self.scores is None else self.scores.classes)]

    def check_records(self) -> None:
        """Raises a SnapshotMismatchError if restored rows of minibatches name something else than the evaluator measures."""
        measured = dict.fromkeys(("loss", self.evaluator.metric.name)) if self.evaluator.sums(TRAIN) else ()
        self.records.check_names((*measured, "learning_rate", "gradient_norm"))

    def run(self) -> None:
        step = self.minibatch
        self.pending_.finish(self._units())
        if step.split == TRAIN:
            self.minibatches += 1
            if step.begin == 0:
                self.warnings_.note_rate(max(self._rates(), default=None), begins=True)
            if self.records.every and self.minibatches % self.records.every == 0:
                self._record_minibatches()
        if not step.last:
            self.improved <<= False
            return
        if step.split == TRAIN:
            self.wrong_ = self.evaluator.first_not_finite()
            self.rate = max(self._rates(), default=None)
            self.warnings_.note_rate(self.rate, begins=False)
        self._record(step.split)
        self.evaluator.reset(step.split)
        if self.scores is not None:
            self.scores.reset(step.split)
        if step.epoch_ends:
            self._close_epoch()

    def _record(self, split: int) -> None:
        name, measured = SPLIT_NAMES[split], self.measured(split)
        self.errors[name] = measured[self.metric.name]
        if self.evaluator.sums(split):  # else nobody knows the loss
            self.losses_[name] = measured["loss"]
        now = time.monotonic()
        self._add_row(
            self.records.add_epoch,
            split=name,
            **measured,
            learning_rate=self.rate,
            seconds=now - self.split_began_,
            samples=self.split_lengths[split],
        )
        self.split_began_ = now
        self.window = []

    def measured(self, split: int) -> dict[str, float]:
        """Returns all that was measured of a split since it was reset: loss, the evaluator's metric, scores."""
        error = self.evaluator.compute(split)
        scores = {} if self.scores is None else self.scores.compute(split)
        return {"loss": self.evaluator.loss(split), self.evaluator.metric.name: error, **self.evaluator.extras(split), **scores}

    def _record_minibatches(self) -> None:
        """Adds a row of the training minibatches since the last one, or since the epoch began."""
        sums = self.evaluator.sums(TRAIN)
        new = [now - before for now, before in zip(sums, self.window, strict=True)] if self.window else sums
        self.window = sums
        now = time.monotonic()
        self._add_row(
            self.records.add_minibatches,
            **self.evaluator.measured(new),
            learning_rate=max(self._rates(), default=math.nan),
            gradient_norm=math.nan,
            seconds=now - self.row_began_,
            samples=round(new[0]) if new else None,
        )
        self.row_began_ = now

    def _add_row(self, add: Callable[..., None], **row: Any) -> None:
        """Adds a row. One with the norm of the gradient is added when the gradients of this minibatch are there."""
        row = {"epoch": len(self.history) + 1, "minibatch": self.minibatches} | row
        if not self.records.gradient_norm or row.get("split", "train") != "train":
            add(**row)
            return
        self.pending_.add(self._units(), add, row)

    def _units(self) -> Sequence[Unit]:
        return () if self.workflow is None else self.workflow.units

    def finish(self) -> None:
        self.pending_.end(self._units())

    def _close_epoch(self) -> None:
        self.history.append(self.errors)
        error = self.errors[self.monitor]
        wrong = self._not_finite()
        self.diverged_ = wrong is not None and self.on_nan == "rollback"
        good = wrong is None or self.on_nan == "ignore"
        self.improved <<= good and self.metric.better(error, self.best)
        if self.improved:
            self.best, self.best_epoch = error, len(self.history)
        self.complete <<= self.ending.reached
        self._tell_epoch()
        self.warnings_.tell_idle(len(self.history))
        self.errors, self.losses_ = {}, {}
        if wrong is not None:
            self._diverge(wrong)
        else:
            self.warnings_.tell_stuck(self.history, self.metric, self.workflow)

    def _tell_epoch(self) -> None:
        measured = {name: self._of_epoch(name) for name in ("loss", *self._others())}
        for name in self._more():
            self.warnings_.tell_odd(name, measured.get(name, {}), len(self.history))
        known = {
            name: {split: value for split, value in found.items() if math.isfinite(value)} for name, found in measured.items()
        }
        now = time.monotonic()
        ended = EpochEnded(
            number=len(self.history),
            total=self.max_epochs,
            metric=self.metric,
            errors=self.errors,
            losses=known.pop("loss"),
            scores=known,
            monitor=self.monitor,
            rates=self._rates(),
            seconds=now - self.began_,
            best=bool(self.improved),
        )
        self.began_ = now
        log.info("%s", ended.line(), extra={"event": ended})

    def _others(self) -> list[str]:
        """The names of what is told of an epoch besides its errors and losses."""
        more = self._more()
        return [name for name in (self.evaluator.metric.name, *more) if more and name not in (self.metric.name, "loss")]

    def _of_epoch(self, name: str) -> dict[str, float]:
        """What was measured of each split in the epoch that ends."""
        rows: list[dict[str, Any]] = [*self.records.epochs[-len(self.errors) :], *self.pending_.of_splits]
        return {row["split"]: row[name] for row in rows if row["epoch"] == len(self.history)}

    def _rates(self) -> tuple[float, ...]:
        """The learning rates that are in force, from the lowest to the highest."""
        rates = {
            rate for unit in self._units() if isinstance(unit, WeightedGradient | NetworkOptimizer) for rate in unit.rates()
        }
        return tuple(sorted(rates))

    def check_state(self) -> None:
        """Raises a DivergedError if a snapshot would keep numbers that are not finite, and they are to end the run.

        The end of an epoch has looked already, unless the weights have changed since.
        """
        step = self.minibatch
        if self.on_nan == "stop" and (step.split == TRAIN or not step.epoch_ends):
            self.wrong_ = self.wrong_ or self.evaluator.first_not_finite()
            if (wrong := self._not_finite()) is not None:
                self._diverge(wrong)

    def _not_finite(self) -> str | None:
        """Returns what of this epoch is infinite or not a number, in words, if anything is."""
        step, self.wrong_ = self.wrong_, None
        if step is not None:
            return finite.wrong_loss(self.workflow, step)
        return finite.wrong_number(self.workflow, self.metric.name, self.errors, self.losses_)

    def _diverge(self, wrong: str) -> None:
        what = f"epoch {len(self.history) + (self.position > 0)}: {wrong}"
        if self.on_nan == "stop" or (self.on_nan == "rollback" and self.best is None):
            is_score = self.measure not in (None, self.evaluator.metric.name, "loss")
            advice = "lower the learning rate, or scale the data" + (f", or mend scores.{self.measure}" if is_score else "")
            raise DivergedError(
                f"{what}: {advice}; continued as it is, the run comes to the same (decision.on_nan={self.on_nan})"
            )
        if self.on_nan == "rollback" or not self.told_:
            log.warning("%s; the run goes on (decision.on_nan=%s)", what, self.on_nan)
        self.told_ = True

    @property
    def ending(self) -> Ending:
        """When the run ends."""
        return Ending(self.max_epochs, self.fail_iterations, len(self.history), self.best_epoch)

    @property
    def metric(self) -> Metric:
        """What the errors are."""
        own = self.evaluator.metric
        if self.measure in (None, own.name):
            return own._replace(higher=self.higher)
        return Metric(str(self.measure), 4, "", self.higher)

    @property
    def objective(self) -> float | None:
        """The best error as what is to be low."""
        return self.as_objective(self.best)

    def as_objective(self, error: float | None) -> float | None:
        """Returns an error as what is to be low: the negative of one that is to be high."""
        return -error if error is not None and self.metric.higher else error

    @property
    def monitor(self) -> str:
        """The split whose error decides: validation, or training where there is no validation set."""
        return SPLIT_NAMES[VALIDATION if self.split_lengths[VALIDATION] else TRAIN]

    @property
    def errors_of_weights(self) -> dict[str, float]:
        """The errors of the weights as they are now: of the epoch that has just ended, or that of the best after a roll-back.

        Within an epoch nothing is known of them.
        """
        if self.position or not self.history:
            return {}
        rollback = getattr(self.workflow, "rollback", None)
        return self.history[self.best_epoch - 1 if rollback is not None and rollback.went_back else -1]

    @property
    def snapshot_suffix(self) -> str:
        """The errors of the weights, such as `validation_1.48_train_0.05`; within an epoch the position."""
        if errors := self.errors_of_weights:
            return "_".join(f"{name}_{self.metric.number(errors[name])}" for name in ("validation", "train") if name in errors)
        return f"epoch_{self.epoch_number + 1}_minibatch_{self.position}"
