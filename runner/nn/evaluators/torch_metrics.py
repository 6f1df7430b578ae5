"""Metrics of torchmetrics, or of your own, beside the one that the evaluator measures."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from runner import places
from runner.datasets.files import needs
from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.graph import Linked, Workflow
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.evaluators.answer_forms import AS_CLASSES, AS_THEY_ARE, AS_VALUES, as_wanted
from runner.nn.evaluators.evaluator import TAKEN, Evaluator
from runner.nn.inference.steps import Answers
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import SPLIT_NAMES
from runner.targets import TARGET, locate

if TYPE_CHECKING:
    import torchmetrics

SAMPLES = 3
"""The number of samples with which a metric is tried out."""
State = dict[str, Tensor | list[Tensor]]


class TorchMetrics(NetworkUnit):
    """Updates each metric with the outputs of a minibatch and what they should be; there is one of each for each split.

    Metrics of classes get probabilities and labels: of two classes that one output tells apart, that of class 1. All others get
    outputs and targets, in the shape of the outputs if they have as many values; as whole numbers, if the metric takes nothing
    else.

    Snapshots hold the states of metrics, never the objects, since these hold functions: a restored run makes them of their
    classes, which the call that restores it has to name.

    Linked attributes:
        output_: the network's output, of shape (samples, *output_shape).
        labels_, targets_: what it should be.
        minibatch: which minibatch this is.

    Attributes:
        classes: the full name of the class of each metric, by the metric's name.
        arguments: the arguments of its constructor.
        higher: whether more is better.
        states: for each split and metric how often it was updated, and its state; up to date in snapshots.

    Args:
        evaluator: knows what the outputs are.
        metrics: for each name `_target_` and arguments.

    Raises:
        ConfigError: torchmetrics is not installed, a class is no metric of it, or a name is taken; at `initialize()`, a metric
            does not take the outputs, or gives no number.
    """

    view_group = "evaluator"

    output_: Linked[Tensor]
    output_shape: Linked[tuple[int, ...]]
    labels_: Linked[Tensor]
    targets_: Linked[Tensor]
    minibatch: Linked[Minibatch]
    evaluator: Evaluator
    classes: dict[str, str]
    arguments: dict[str, dict[str, Any]]
    higher: dict[str, bool]
    states: dict[str, dict[str, Any]]

    def __init__(self, workflow: Workflow, evaluator: Evaluator, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(workflow, "scores")
        self.evaluator = evaluator
        self.classes, self.arguments, self.higher, self.states = {}, {}, {}, {}
        for name, settings in metrics.items():
            self._add(str(name), settings)
        self.demand("output_", "output_shape", "labels_", "targets_", "minibatch")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.found_: dict[str, type] = {}
        self.metrics_: list[dict[str, torchmetrics.Metric]] = []

    def __getstate__(self) -> dict[str, Any]:
        self.states = {
            f"{SPLIT_NAMES[split]}.{name}": {"updates": metric.update_count, "state": dict(metric.metric_state)}
            for split, metrics in enumerate(self.metrics_)
            for name, metric in metrics.items()
            if metric.update_count
        } or ({} if self.metrics_ else self.states)
        return super().__getstate__()

    def _add(self, name: str, settings: Any) -> None:
        where = f"scores.{name}"
        if name in TAKEN or not name.isidentifier():
            raise ConfigError(f"{where}: a score has another name: {', '.join(sorted(TAKEN))} are taken, and others are words")
        if not isinstance(settings, Mapping) or not isinstance(settings.get(TARGET), str):
            raise ConfigError(f"{where} has no {TARGET}: name a class, such as {where}.{TARGET}=torchmetrics.F1Score")
        with needs("torchmetrics", where):
            import torchmetrics
        base: type[Any] = torchmetrics.Metric
        cls = locate(f"{where}.{TARGET}", settings[TARGET], base)
        self.classes[name] = f"{cls.__module__}.{cls.__qualname__}"
        self.arguments[name] = {str(key): value for key, value in settings.items() if key != TARGET}
        self.found_[self.classes[name]] = cls
        self.higher[name] = self._made(name).higher_is_better is True

    def to_be_high(self, name: str | None) -> bool:
        """Whether what decides is to be high; what is none of these metrics is to be low.

        Raises:
            ConfigError: it is a metric whose class does not say it.
        """
        if name in self.classes and self._made(name).higher_is_better is None:
            raise ConfigError(
                f"decision.monitor={name}: {self.classes[name]} does not say whether it is to be low or high"
                " (higher_is_better): type decision.mode=min or decision.mode=max"
            )
        return name is not None and self.higher.get(name, False)

    def missing_classes(self) -> list[str]:
        return sorted(set(self.classes.values()) - self.found_.keys())

    def provide(self, name: str, cls: type) -> None:
        import torchmetrics

        if not issubclass(cls, torchmetrics.Metric):
            raise ConfigError(f"{name} is not a metric of torchmetrics")
        self.found_[name] = cls

    def _made(self, name: str) -> torchmetrics.Metric:
        cls = self.found_.get(self.classes[name])
        if cls is None:
            module = self.classes[name].partition(".")[0]
            raise ConfigError(
                f"the snapshot names the class {self.classes[name]} of scores.{name}, and this call does not: name it in the"
                f" conf file, or declare its module with restore.trusted=[{module}]"
            )
        try:
            metric: torchmetrics.Metric = cls(**self.arguments[name])
        except Exception as error:  # the user's own class may fail in any way
            raise ConfigError(f"scores.{name}: {self.classes[name]} cannot be made: {places.told(error)}") from error
        return metric

    def made(self) -> dict[str, torchmetrics.Metric]:
        """Returns a fresh metric of each class that this call names, by the metric's name."""
        return {name: self._made(name) for name, cls in self.classes.items() if cls in self.found_}

    def initialize(self) -> None:
        self.answers_ = Answers.of(self.evaluator.outputs_are)
        if not self.metrics_:
            self.metrics_ = [{name: self._made(name).to(self.device) for name in self.classes} for _ in SPLIT_NAMES]
            for split, metrics in zip(SPLIT_NAMES, self.metrics_, strict=True):
                for name, metric in metrics.items():
                    _put(f"{split}.{name}", metric, self.states.get(f"{split}.{name}"), self.device)

    def check_data(self, loader: FullBatchLoader) -> None:
        """Raises a ConfigError if a metric does not take what it is to get; its state does not change."""
        wanted = next(iter((loader.labels_ if self._of_labels else loader.targets_).values()))[:SAMPLES]
        outputs = torch.zeros((len(wanted), *self.output_shape), dtype=self.dtype, device=self.device)
        self.forms_: dict[str, str] = {}
        for name in self.classes:
            forms = (AS_CLASSES,) if self._of_labels else _forms(outputs, wanted)
            faults = {form: self._fault(name, outputs, wanted, form) for form in forms}
            fitting = [form for form, fault in faults.items() if fault is None]
            if not fitting:
                raise ConfigError(
                    f"scores.{name}: {self.classes[name].rpartition('.')[2]} does not take outputs of shape"
                    f" {tuple(self.output_shape)} and {'labels' if self._of_labels else 'targets'}: {faults[forms[0]]}"
                )
            self.forms_[name] = fitting[0]

    @property
    def _of_labels(self) -> bool:
        return self.evaluator.outputs_are != "values"

    def _fault(self, name: str, outputs: Tensor, wanted: Tensor, form: str) -> str | None:
        metric = copy.deepcopy(self._made(name)).to(self.device)
        before = copy.deepcopy(_beside_state(metric))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                metric.update(self._given(outputs), as_wanted(wanted, form, outputs))
                value = metric.compute()
        except Exception as error:  # the user's own class may fail in any way
            return places.told(error)
        if changed := [key for key, now in _beside_state(metric).items() if pickle.dumps(before.get(key)) != pickle.dumps(now)]:
            return f"its update changes {changed[0]!r}, which no snapshot has: make it a state, by add_state()"
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            return None
        if isinstance(value, int | float) or (isinstance(value, Tensor) and value.is_complex()):
            return f"it gives {value!r}: compute() returns a tensor of one real number"
        what = f"values of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        return f"it gives {what} instead of one number (average=macro gives one of several)"

    def _given(self, outputs: Tensor) -> Tensor:
        if self.answers_ is None:
            return outputs
        given: Tensor = self.answers_(outputs)
        return given[:, 1] if self.evaluator.outputs_are in Answers.BINARY else given

    def run(self) -> None:
        outputs = self.output_.view(len(self.output_), *self.output_shape)
        given = self._given(outputs)
        wanted = self.labels_ if self._of_labels else self.targets_
        for name, metric in self.metrics_[self.minibatch.split].items():
            try:
                metric.update(given, as_wanted(wanted, self.forms_[name], outputs))
            except Exception as error:
                raise RunError(f"scores.{name} fails on a minibatch of {len(outputs)}: {places.told(error)}") from error

    def compute(self, split: int) -> dict[str, float]:
        """Returns each metric of the samples of a split since it was reset; NaN if there were none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class that no sample has is no news in each epoch
            return {
                name: float(metric.compute()) if metric.update_count else math.nan
                for name, metric in self.metrics_[split].items()
            }

    def reset(self, split: int) -> None:
        """Forgets what was measured of a split."""
        for metric in self.metrics_[split].values():
            metric.reset()


def _forms(outputs: Tensor, wanted: Tensor) -> tuple[str, ...]:
    return (AS_VALUES, AS_CLASSES) if outputs.numel() == wanted.numel() else (AS_THEY_ARE, AS_CLASSES)


def _beside_state(metric: torchmetrics.Metric) -> dict[str, Any]:
    """Returns what a metric of the user's own keeps besides its states: plain values."""
    if type(metric).__module__.partition(".")[0] == "torchmetrics":
        return {}
    plain = (int, float, str, list, dict, set, Tensor)
    own = {name: value for name, value in vars(metric).items() if name not in metric.metric_state and not name.startswith("_")}
    return {name: value for name, value in own.items() if isinstance(value, plain)}


def _put(where: str, metric: torchmetrics.Metric, kept: Any, device: torch.device) -> None:
    """Gives a metric the state that a snapshot has of it, if it has any."""
    if kept is None:
        return
    state, before = kept.get("state"), metric.metric_state
    if type(state) is not dict or state.keys() != before.keys() or type(kept.get("updates")) is not int:
        raise SnapshotMismatchError(f"the snapshot has another state of the score {where} than its class")
    for name, value in state.items():
        if type(value) is not type(before[name]):
            raise SnapshotMismatchError(f"the snapshot has another state of the score {where} than its class")
        setattr(metric, name, [item.to(device) for item in value] if isinstance(value, list) else value.to(device))
    metric._update_count = kept["updates"]
