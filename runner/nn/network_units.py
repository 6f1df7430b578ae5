"""The units of a standard workflow, and how they are linked: one part of the graph after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from runner.checks import choices, known
from runner.config import Precision, layer_sides, normalized_layers
from runner.errors import ConfigError
from runner.graph import Repeater, Unit, Workflow, random_state
from runner.nn.agreement import Agreement
from runner.nn.decision import Decision
from runner.nn.evaluators.class_evaluator import ClassEvaluator
from runner.nn.evaluators.evaluator import Evaluator
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.evaluators.loss_functions import EVALUATORS, check_softmax
from runner.nn.evaluators.loss_gradient import LossGradient
from runner.nn.evaluators.step_evaluator import StepEvaluator
from runner.nn.evaluators.torch_metrics import TorchMetrics
from runner.nn.layers.base import OUTPUT, Forward, Gradient
from runner.nn.layers.layer_types import LAYERS
from runner.nn.layers.module import Module
from runner.nn.layers.own_step import OwnStep, check_own_step
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.loader_types import loader_class
from runner.nn.moving_average import AverageSwitch, MovingAverage
from runner.nn.network_optimizer import NetworkOptimizer, split
from runner.nn.plotters import ConfusionPlotter, ErrorPlotter, WeightsPlotter
from runner.nn.rollback import Rollback
from runner.nn.schedule import LearningRateAdjuster
from runner.nn.sharding.exchange import Exchange
from runner.nn.sharding.shards import Shards
from runner.nn.torch_scheduler import Scheduler
from runner.nn.training.held import Held
from runner.nn.training.patterns import all_matching
from runner.nn.training.sgd import SGD
from runner.plots.plotter import Plotter
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores import store_in
from runner.snapshots.stores.file_system import read_mode


class NetworkUnits(Workflow, metaclass=random_state.Seeding):
    """A loader, layers, an evaluator, a decision, gradient units and a snapshotter, linked so that they train a network.

    `StandardWorkflow` says what the arguments are.
    """

    seed: int
    dtype: torch.dtype
    threads: int | None
    repeater: Repeater
    loader: FullBatchLoader
    layer_settings: dict[str, dict[str, Any]]
    forwards: list[Forward]
    evaluator: Evaluator
    decision: Decision
    gradients: list[Gradient]
    # Snapshots from before there were scores, and one optimizer for all parameters, lack these.
    scores: TorchMetrics | None = None
    optimizer: NetworkOptimizer | None = None
    scheduler: Scheduler | None = None
    ema: MovingAverage | None = None
    lr_adjuster: LearningRateAdjuster
    rollback: Rollback | None
    plotters: list[Plotter]
    snapshotter: Snapshotter | None
    # Snapshots from before there were shards lack these.
    shards: Shards | None = None
    exchange: Exchange | None = None
    agreement: Agreement | None = None
    device_: torch.device
    init_from_: str | None

    def __init__(
        self,
        name: str,
        *,
        seed: int,
        precision: str = "float32",
        loader_name: str,
        loader_config: Mapping[str, Any],
        loss_function: str = "softmax",
        loss_config: Mapping[str, Any] | None = None,
        layers: Any,
        optimizer_config: Mapping[str, Any] | None = None,
        scheduler_config: Mapping[str, Any] | None = None,
        freeze: Sequence[str] = (),
        ema: float | None = None,
        init_from: str | None = None,
        lr_adjuster_config: Mapping[str, Any] | None = None,
        scores_config: Mapping[str, Any] | None = None,
        decision_config: Mapping[str, Any] | None = None,
        rollback_config: Mapping[str, Any] | None = None,
        shards: int | None = None,
        snapshotter_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.seed = seed
        random_state.seed_all(seed)  # from which modules draw their weights
        if precision not in Precision.__members__:
            raise ConfigError(f"precision={precision!r} is unknown; {choices(precision, Precision.__members__)}")
        self.dtype = getattr(torch, precision)
        self.threads = None
        self.repeater = Repeater(self, "repeater")
        self.repeater.link_from(self.start_point)
        self.loader = self._link_loader(loader_name, loader_config)
        self.layer_settings = normalized_layers(layers)
        self.forwards = self._link_forwards()
        self.evaluator = self._link_evaluator(loss_function, dict(loss_config or {}))
        self.scores = self._link_scores(dict(scores_config or {}))
        self.decision = self._link_decision(dict(decision_config or {}))
        check_own_step(
            self.forwards,
            {
                "loss": loss_config,
                "optimizer": optimizer_config,
                "scheduler": scheduler_config,
                "freeze": freeze,
                "ema": ema,
                "scores": scores_config,
                "lr_adjuster": (lr_adjuster_config or {}).get("policy", "fixed") != "fixed",
                "rollback": (rollback_config or {}).get("fail_iterations"),
                "parallel.shards": shards,
            },
        )
        self.gradients = self._link_gradients(bool(optimizer_config))
        self._freeze(freeze)
        self.init_from_ = init_from
        if shards is not None:
            self._link_shards(shards)
        self.optimizer = self._link_optimizer(dict(optimizer_config or {}))
        self.scheduler = self._link_scheduler(dict(scheduler_config or {}))
        self.ema = self._link_ema(ema)
        self.agreement = None if shards is None else self._link_agreement()
        self.lr_adjuster = self._link_lr_adjuster(dict(lr_adjuster_config or {"policy": "fixed", "parameters": {}}))
        self.rollback = self._link_rollback(dict(rollback_config or {}))
        self.plotters = self._link_plotters()
        last: Unit = self.lr_adjuster
        self.snapshotter = None
        if snapshotter_config is not None:
            last = self.snapshotter = self._link_snapshotter(dict(snapshotter_config))
        self.repeater.link_from(last)
        self.repeater.gate_block = self.decision.complete
        self.end_point.link_from(last)
        self.end_point.gate_block = ~self.decision.complete
        self._check_names()

    def _check_names(self) -> None:
        """Raises a ConfigError if a layer has the name of another unit."""
        names = Counter(unit.name for unit in self.units)
        for name in self.layer_settings:
            if "." in name:
                raise ConfigError(f"layers has a layer named {name!r}: a name has no dots, which separate keys")
            if names[name] > 1 or names[f"gd_{name}"] > 1:
                taken = known({unit.name for unit in self.units if unit not in self.forwards})
                raise ConfigError(f"layers.{name} has a name that another unit needs: choose another (taken: {taken})")

    def _link_loader(self, name: str, settings: Mapping[str, Any]) -> FullBatchLoader:
        loader = loader_class(name, settings)(self, seed=self.seed, **settings)
        loader.link_from(self.repeater)
        return loader

    def _link_forwards(self) -> list[Forward]:
        if not self.layer_settings:
            raise ConfigError("layers is empty: a network has at least one layer")
        forwards: list[Forward] = []
        previous: Unit = self.loader
        for name, settings in self.layer_settings.items():
            forward = LAYERS[settings["type"]].forward(self, name, seed=self.seed, **layer_sides(settings)[0])
            if previous is self.loader:
                forward.link_attrs(previous, ("input_", "minibatch_data_"), ("input_shape", "sample_shape"))
                if isinstance(forward, Module):
                    forward.link_attrs(previous, ("input_dtype", "sample_dtype"), ("input_parts", "parts"))
                    self.loader.keeps_integers = True
            else:
                forward.link_attrs(previous, ("input_", "output_"), ("input_shape", "output_shape"))
            forward.link_attrs(self.loader, "evaluating")
            if settings["type"] == "softmax" and settings["output_sample_shape"] is None:
                forward.link_attrs(self.loader, "label_count")
            forward.link_from(previous)
            forwards.append(forward)
            previous = forward
        return forwards

    def _link_evaluator(self, loss_function: str, loss: Mapping[str, Any]) -> Evaluator:
        last = self.forwards[-1]
        if isinstance(last, OwnStep):
            own = StepEvaluator(self, last)
            last.link_attrs(self.loader, ("labels_", "minibatch_labels_"), ("targets_", "minibatch_targets_"), "label_count")
            own.link_from(last).link_attrs(last, "output_", "output_shape", "numbers_")
            own.link_attrs(self.loader, "minibatch", "evaluating")
            return own
        check_softmax(self.layer_settings, loss_function, loss)
        if not loss:
            evaluator = EVALUATORS[loss_function](self)
            evaluator.link_attrs(self.loader, (evaluator.wants, f"minibatch_{evaluator.wants}"))
        else:
            of_class = {key: value for key, value in loss.items() if key != OUTPUT}
            evaluator = LossEvaluator(self, seed=self.seed, settings=of_class, targets=loss_function == "mse")
            if loss.get(OUTPUT) is not None:
                last.choose(loss[OUTPUT])
                evaluator.link_attrs(last, "further_")
            evaluator.link_attrs(
                self.loader, ("labels_", "minibatch_labels_"), ("targets_", "minibatch_targets_"), "label_count"
            )
        evaluator.link_from(self.forwards[-1])
        evaluator.link_attrs(self.forwards[-1], "output_", "output_shape")
        evaluator.link_attrs(self.loader, "minibatch", "evaluating")
        return evaluator

    def _link_scores(self, metrics: dict[str, Any]) -> TorchMetrics | None:
        if not metrics:
            return None
        scores = TorchMetrics(self, self.evaluator, metrics)
        scores.link_from(self.evaluator).link_attrs(self.forwards[-1], "output_", "output_shape")
        scores.link_attrs(self.loader, ("labels_", "minibatch_labels_"), ("targets_", "minibatch_targets_"), "minibatch")
        return scores

    def _link_decision(self, settings: Mapping[str, Any]) -> Decision:
        decision = Decision(self, self.evaluator, self.scores, **settings)
        decision.link_from(self.scores or self.evaluator)
        decision.link_attrs(self.loader, "minibatch", "split_lengths", "epoch_number", "position")
        return decision

    def _link_gradients(self, held: bool) -> list[Gradient]:
        """Makes the gradient units, from the last layer to the first one with weights."""
        if isinstance(self.forwards[-1], OwnStep):
            return []
        weighted = [unit for unit in self.forwards if LAYERS[self.layer_settings[unit.name]["type"]].has_weights]
        gradients: list[Gradient] = []
        previous: Unit = self.decision
        if isinstance(self.evaluator, LossEvaluator) and self.evaluator.learns:
            gradients.append(previous := self._link_loss_gradient(self.evaluator, held))
        for forward in reversed(self.forwards[self.forwards.index(weighted[0]) :]):
            settings = self.layer_settings[forward.name]
            layer, own = LAYERS[settings["type"]], layer_sides(settings)[1]
            if layer.has_weights and held:
                own["held"] = True
            gradient = layer.gradient(self, forward, needs_err_input=forward is not weighted[0], **own)
            if forward is self.forwards[-1]:
                gradient.link_attrs(self.evaluator, "err_output_")
            else:
                gradient.link_attrs(previous, ("err_output_", "err_input_"))
            gradient.link_from(previous)
            gradient.gate_skip = self.loader.evaluating
            gradients.append(gradient)
            previous = gradient
        return gradients

    def _link_loss_gradient(self, evaluator: LossEvaluator, held: bool) -> LossGradient:
        """Makes the unit that updates the loss's own parameters, before all others: an optimizer has them last."""
        if not held:
            raise ConfigError(
                f"loss: {type(evaluator.loss_module).__name__} has parameters, which an optimizer for all weights trains:"
                " optimizer._target_=torch.optim.AdamW"
            )
        gradient = LossGradient(self, evaluator)
        gradient.link_from(self.decision).link_attrs(evaluator, "err_output_")
        gradient.gate_skip = self.loader.evaluating
        return gradient

    @property
    def _learning(self) -> list[Forward | LossEvaluator]:
        """What has tensors that training changes."""
        evaluator = self.evaluator
        return [*self.forwards, *([evaluator] if isinstance(evaluator, LossEvaluator) and evaluator.learns else [])]

    @property
    def _weighted(self) -> list[WeightedGradient]:
        return [unit for unit in self.gradients if isinstance(unit, WeightedGradient)]

    @property
    def _updated(self) -> Unit:
        """The unit after which the parameters and their learning rates are those of the next minibatch."""
        return (
            self.agreement
            or self.ema
            or self.scheduler
            or self.optimizer
            or self.exchange
            or [self.decision, *self.gradients][-1]
        )

    def _link_shards(self, count: int) -> None:
        """Puts a unit before the layers that runs them shard by shard, and one after the gradients that sums these."""
        of_loss = [self.evaluator] if isinstance(self.evaluator, LossEvaluator) else []
        self.exchange = Exchange(self, self._weighted, [*self.forwards, *of_loss])
        self.exchange.link_from(self.gradients[-1])
        self.exchange.gate_skip = self.loader.evaluating
        self.shards = Shards(
            *(self, count),
            loader=self.loader,
            forwards=self.forwards,
            evaluator=self.evaluator,
            gradients=self.gradients,
            exchange=self.exchange,
        )
        self.shards.link_attrs(self.loader, "minibatch", "evaluating")
        if self.scores is not None:
            self.shards.shows_outputs = True
            self.scores.link_attrs(self.shards, "output_")
        self.forwards[0].unlink_from(self.loader)
        self.forwards[0].link_from(self.shards.link_from(self.loader))

    def _link_agreement(self) -> Agreement:
        """Puts a unit behind all that changes weights that compares those of all processes, once an epoch."""
        agreement = Agreement(self, self._learning, self._weighted, self.optimizer)
        agreement.link_from(self._updated)
        agreement.gate_skip = ~self.loader.epoch_ended
        return agreement

    def _freeze(self, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str):
            raise ConfigError(f"freeze={patterns!r} must be a list: freeze=[{patterns!r}]")
        units = {unit.full_name(name): (unit, name) for unit in self._weighted for name in unit.steps}
        for full_name in all_matching("freeze", patterns, [name for unit in self._weighted for name in unit.full_names()]):
            unit, name = units[full_name]
            unit.freeze(name)
        if patterns and not any(unit.full_names(SGD, Held) for unit in self._weighted):
            raise ConfigError("freeze leaves the optimizer no parameter: there is nothing to train")

    def _link_optimizer(self, settings: dict[str, Any]) -> NetworkOptimizer | None:
        if not settings:
            return None
        of_class, own = split(settings)
        optimizer = NetworkOptimizer(self, self._weighted, of_class, **own)
        optimizer.link_from(self.exchange or self.gradients[-1]).link_attrs(self.loader, "minibatch")
        optimizer.gate_skip = self.loader.evaluating
        return optimizer

    def _link_scheduler(self, settings: dict[str, Any]) -> Scheduler | None:
        if not settings:
            return None
        if self.optimizer is None:
            raise ConfigError(
                "scheduler needs an optimizer whose learning rates it changes: optimizer._target_=torch.optim.AdamW"
            )
        by_minibatch = settings.pop("by_minibatch", False)
        scheduler = Scheduler(self, self.optimizer, settings, by_minibatch=by_minibatch)
        scheduler.link_from(self.optimizer).link_attrs(self.decision, "history", "monitor")
        scheduler.gate_skip = self.loader.evaluating if by_minibatch else ~self.loader.epoch_ended
        return scheduler

    def _link_ema(self, decay: float | None) -> MovingAverage | None:
        """Puts the average behind the update, and a switch before the first layer, if one is wanted."""
        if decay is None:
            return None
        before, first = self._updated, self.shards or self.forwards[0]
        average = MovingAverage(self, self._weighted, self.optimizer, decay=decay)
        average.link_from(before)
        average.gate_skip = self.loader.evaluating
        switch = AverageSwitch(self, average)
        switch.link_from(self.loader).link_attrs(self.loader, "evaluating")
        first.unlink_from(self.loader).link_from(switch)
        return average

    def _link_lr_adjuster(self, settings: Mapping[str, Any]) -> LearningRateAdjuster:
        if self.scheduler is not None and settings["policy"] != "fixed":
            raise ConfigError(
                f"scheduler and lr_adjuster.policy={settings['policy']!r} both change the learning rates: take one of them away"
            )
        adjuster = LearningRateAdjuster(self, self._weighted, **settings)
        adjuster.link_from(self._updated)
        adjuster.link_attrs(self.loader, "epoch_number", "evaluating")
        # At the end of an epoch a roll-back may have lowered the rates.
        within = ~self.loader.epoch_ended
        adjuster.gate_skip = self.loader.evaluating & within if adjuster.by_minibatch else within
        return adjuster

    def _link_rollback(self, settings: dict[str, Any]) -> Rollback | None:
        """Puts the roll-back between the gradient units and the learning-rate adjuster, if one is wanted."""
        if unknown := settings.keys() - Rollback.adjustable:
            raise ConfigError(f"'rollback.{min(unknown)}' is not a key; {choices(min(unknown), Rollback.adjustable)}")
        if settings.get("fail_iterations") is None:
            return None
        if self.ema is not None:
            raise ConfigError("ema and rollback.fail_iterations both say which weights are scored: take one of them away")
        rollback = Rollback(self, self.lr_adjuster, self._learning, self.optimizer, **settings)
        self.lr_adjuster.unlink_before()
        self.lr_adjuster.link_from(rollback.link_from(self._updated))
        rollback.link_attrs(self.decision, "improved", ("diverged", "diverged_"))
        rollback.gate_skip = ~self.loader.epoch_ended
        return rollback

    def _link_plotters(self) -> list[Plotter]:
        """Puts plotters beside the snapshotter."""
        # They are always there, so that snapshots do not depend on whether anyone draws.
        plotters: list[Plotter] = [ErrorPlotter(self), WeightsPlotter(self, self.forwards)]
        plotters[0].link_attrs(self.decision, "history", "best_epoch", "metric")
        if isinstance(self.evaluator, ClassEvaluator):
            plotters.append(confusion := ConfusionPlotter(self))
            confusion.link_attrs(self.evaluator, "confusion").link_attrs(self.decision, "monitor")
        for plotter in plotters:
            plotter.link_from(self.lr_adjuster)
            plotter.gate_block = ~self.loader.epoch_ended
        return plotters

    def _link_snapshotter(self, settings: Mapping[str, Any]) -> Snapshotter:
        own = dict(settings)
        store = own.pop("store", None) or store_in(own.pop("directory", "snapshots"), read_mode(own.pop("mode", None)))
        snapshotter = Snapshotter(self, "snapshotter", store=store, **own)
        snapshotter.link_from(self.lr_adjuster)
        snapshotter.link_attrs(self.decision, ("suffix", "snapshot_suffix"), "complete")
        snapshotter.link_attrs(self.loader, ("due", "epoch_ended"))
        snapshotter.skip = ~self.decision.improved
        return snapshotter
