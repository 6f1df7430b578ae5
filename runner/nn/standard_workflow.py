"""The standard workflow: a feed-forward network trained by gradient descent."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch

from runner import cores
from runner.errors import ConfigError
from runner.graph import Unit
from runner.graph.outlook import Outlook
from runner.graph.pickleable import Offered
from runner.graph.restored_state import goes_on
from runner.metrics import Rows, history_of
from runner.nn import overriding
from runner.nn.evaluators.evaluator import Metric
from runner.nn.inference.building import network_of
from runner.nn.inference.initial_weights import begin_with
from runner.nn.inference.model import Network
from runner.nn.layers.weighted import WeightedForward
from runner.nn.loading.samples import SPLIT_NAMES
from runner.nn.moving_average import AverageSwitch
from runner.nn.network_units import NetworkUnits

log = logging.getLogger(__name__)

THREADED_WORK = 1 << 26
"""Multiplications in the largest layer, for one minibatch, from which a second thread pays."""


class StandardWorkflow(NetworkUnits):
    """start -> repeater -> loader -> layers -> evaluator -> decision -> gradients -> snapshotter -> repeater or end.

    The snapshotter closes the iteration: the weights are updated, and those of `validation_1.48` score 1.48. Evaluation
    minibatches skip the gradient units. Plotters run beside the snapshotter.

    Args:
        name: the workflow's name.
        seed: the seed of everything random. The global generators of Python, numpy and torch are as if it had been put into
            them when the workflow was made.
        precision: `float32` or `float64`.
        loader_name: a name from `LOADERS`, or the full name of a class.
        loader_config: the loader's settings.
        loss_function: a name from `EVALUATORS`.
        loss_config: `_target_` and the arguments of a loss that takes its place; with `mse` it is one of targets, even where
            the data have labels.
        layers: the layers from first to last, as in the configuration.
        optimizer_config: `_target_` and the settings of an optimizer for all weights, with those of `NetworkOptimizer`.
            Default: gradient descent with each layer's own settings.
        scheduler_config: `_target_` and the settings of a scheduler of that optimizer, and `by_minibatch`.
        freeze: patterns for the names of parameters that do not learn.
        ema: the decay of a moving average of the parameters, with which the network is scored. Default: none.
        init_from: the snapshot, or the file of tensors, with which a new run begins.
        lr_adjuster_config: `policy` and `parameters`.
        scores_config: for each further metric, by its name, `_target_` and the settings.
        decision_config: the decision's settings.
        rollback_config: `fail_iterations` and `lr_minus` of `Rollback`; without the former there is none.
        shards: into how many shards each minibatch is cut, a power of two. Default: it is computed as a whole.
        snapshotter_config: the settings of `Snapshotter`, or of `SnapshotterToFile` if they name no store. Default: no
            snapshotter.

    Raises:
        ConfigError: a name or a setting is wrong.
    """

    activity = "Training"

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.device_ = torch.device("cpu")
        self.init_from_ = None
        self.measured_: dict[str, dict[str, float]] = {}

    @goes_on
    def initialize(self) -> None:
        if self.launcher is not None:
            self.device_ = torch.device(self.launcher.device)
        super().initialize()
        if self.init_from_ is not None:
            begin_with(self.init_from_, self._tensors())
        self.evaluator.check_data(self.loader)
        if self.scores is not None:
            self.scores.check_data(self.loader)
        self.decision.check_monitor()
        if self.scheduler is not None:
            self.scheduler.check_mode(self.decision.metric)
        self.decision.check_records()
        if self.decision.on_nan == "rollback" and self.rollback is None:
            raise ConfigError(
                "decision.on_nan=rollback puts the best weights back, which only a roll-back keeps: set"
                " rollback.fail_iterations=N"
            )
        self.decision.reconfigure()  # in a notebook a limit may have been set by hand

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Returns what training changes in the network, by name."""
        return {f"{unit.name}.{name}": value for unit in self.forwards for name, value in unit.tensors().items()}

    def run(self) -> None:
        if self.complete:
            log.warning("%s is complete: it has reached %s=%d; a higher limit extends it", self.name, *self.limit)
        super().run()

    def choose_threads(self, asked: int | None) -> int:
        # Results may depend on the number of threads, so a run keeps its own.
        # With shards it must not depend on how many cores each process has, either.
        self.threads = asked or self.threads or (1 if self.shards is not None else self._suitable_threads())
        return self.threads

    def _suitable_threads(self) -> int:
        """Returns how many threads suit the network: a small one is slowed down by a second."""
        sizes = [
            self.loader.minibatch_size * math.prod(unit.output_shape) * unit.weights[0].numel()
            for unit in self.forwards
            if isinstance(unit, WeightedForward) and unit.weights is not None
        ]
        return cores.for_numbers() if max(sizes, default=0) >= THREADED_WORK else 1

    @property
    @goes_on
    def current_step(self) -> tuple[str, int, int]:
        if not self.control.running and self.snapshotter is not None and (written := self.snapshotter.finishing):
            return "Writing the last snapshot", *written
        loader, epochs, ended = self.loader, self.decision.max_epochs, bool(self.decision.complete)
        epoch, position = (loader.epoch_number, loader.steps) if ended else (loader.epoch_number + 1, loader.position)
        return f"Epoch {epoch}/{epochs}" if epochs else f"Epoch {epoch}", position, loader.steps

    @property
    @goes_on
    def outlook(self) -> Outlook | None:
        loader, epochs, step = self.loader, self.decision.max_epochs, self.loader.minibatch
        if not self.control.running or step is None:
            return None
        return Outlook(
            done=loader.epoch_number * loader.steps + loader.position,
            total=epochs and epochs * loader.steps,
            samples=sum(loader.split_lengths) / loader.steps,
            readings=self.evaluator.readings(step.split),
        )

    @goes_on
    def progress(self) -> dict[str, Any]:
        decision, loader = self.decision, self.loader
        errors = decision.errors_of_weights
        score = decision.as_objective(errors.get(decision.monitor))
        last = decision.history[-1] if decision.history else {}
        metrics = {"best": decision.best, "best_epoch": decision.best_epoch} | (errors or last)
        return {
            "epoch": loader.epoch_number,
            "iteration": loader.position,
            "complete": bool(decision.complete),
            "score": score if score is not None and math.isfinite(score) else None,
            "metrics": metrics,
        }

    def check_state(self) -> None:
        self.decision.check_state()

    @property
    def complete(self) -> bool:
        return bool(self.decision.complete)

    @property
    @goes_on
    def objective(self) -> float | None:
        return self.decision.objective

    @property
    def measure(self) -> str | None:
        return self.measure_of(self.decision.monitor, self.decision.metric)

    def measure_of(self, split: str, metric: Metric) -> str:
        """Returns what a number of a split measures."""
        return f"{split} {metric.name}{self.evaluator.scale(metric.name)}"

    @property
    @goes_on
    def summary(self) -> str | None:
        decision = self.decision
        if decision.best is None:
            return None
        metric = decision.metric
        return f"Best {decision.monitor} {metric.name}: {metric.text(decision.best)} (epoch {decision.best_epoch})"

    @property
    @goes_on
    def limit(self) -> tuple[str, int]:
        key, value = self.decision.ending.limit
        return f"decision.{key}", value

    @property
    @goes_on
    def extension(self) -> dict[str, int]:
        key, value = self.decision.ending.extension
        return {f"decision.{key}": value} | self.lr_adjuster.extension(self._further_epochs)

    @property
    @goes_on
    def extension_note(self) -> str | None:
        if self.scheduler is not None:
            return self.scheduler.note_after(self.loader.epoch_number, self._further_epochs)
        if self.lr_adjuster.extension(self._further_epochs) or self.lr_adjuster.factor_after(0):
            return None
        return f"lr_adjuster.policy={self.lr_adjuster.policy} gives the learning rate 0 from here on: change it, too"

    @property
    def _further_epochs(self) -> int:
        """How many epochs an extended run goes on at least."""
        key, value = self.decision.ending.extension
        return value - self.loader.epoch_number if key == "max_epochs" else value // 2

    def scores_text(self, scores: Mapping[str, float]) -> str:
        return self.decision.metric.line(scores)

    @Offered
    def history(self) -> Rows:
        """What was measured so far: a row for each epoch and split, which `to_pandas()` makes a table."""
        return history_of(self)

    @property
    def network_units(self) -> list[Unit]:
        """The units between the loader and the evaluator: what a subclass has put there belongs to the network, too."""
        order = self.units_in_dependency_order
        return order[order.index(self.shards or self.loader) + 1 : order.index(self.evaluator)]

    @goes_on
    def as_model(self) -> Network:
        layers = [unit for unit in self.network_units if not isinstance(unit, AverageSwitch)]
        if self.ema is None:
            return network_of(self.name, self.loader, layers, self.evaluator.outputs_are)
        for unit in layers:
            unit.initialize()
        self.ema.initialize()
        with self.ema.averages():
            return network_of(self.name, self.loader, layers, self.evaluator.outputs_are)

    @goes_on
    def evaluate(self) -> dict[str, float]:
        """Scores the weights on the validation and the test set; returns the error of each split, and keeps the rest, too."""
        self.measured_ = {}
        layers = self.network_units
        for step in self.loader.evaluation():
            if step.begin == 0:
                self._reset(step.split)  # the snapshot may be from the middle of this split
            self.loader.serve(step)
            if self.shards is not None:
                self.shards.run()
            else:
                for unit in layers:
                    unit.run()
                self.evaluator.run()
            if self.scores is not None:
                self.scores.run()
            if step.last:
                name, measured = SPLIT_NAMES[step.split], self.decision.measured(step.split)
                self.measured_[name] = measured
                if self.scores is not None:
                    log.info("%s: %s", name, ", ".join(f"{key} {value:.4f}" for key, value in measured.items()))
                self._reset(step.split)
        return {name: measured[self.decision.metric.name] for name, measured in self.measured_.items()}

    def _reset(self, split: int) -> None:
        self.evaluator.reset(split)
        if self.scores is not None:
            self.scores.reset(split)

    def override(self, key: str, value: object) -> None:
        if not overriding.apply(self, key, value):
            super().override(key, value)
