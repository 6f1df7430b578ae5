"""What all evaluators have in common: they compare the output with what it should be, and measure how wrong it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from runner.graph import Bool, Linked, Workflow
from runner.metrics import records
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import SPLIT_NAMES

TAKEN = records.TAKEN | {
    *("epoch", "minibatch", "minibatches", "split", "samples", "loss", "error", "RMSE", "learning_rate", "gradient_norm")
}
"""Names that rows of records have already."""


class Metric(NamedTuple):
    """What is measured of a split.

    Attributes:
        name: what log lines call it.
        digits: after the decimal point.
        unit: what follows the number.
        higher: whether more is better.
    """

    name: str
    digits: int
    unit: str
    higher: bool = False

    def better(self, value: float, other: float | None) -> bool:
        """Whether a value is better than another one, if there is one."""
        if other is None:
            return math.isfinite(value)
        return value > other if self.higher else value < other

    def text(self, value: float) -> str:
        """Returns a value as log lines show it: `1.48 %`."""
        return f"{self.number(value)}{self.unit}"

    def number(self, value: float) -> str:
        """Returns a value without its unit, as names of snapshots have it."""
        return f"{value:.{self.digits}f}"

    def line(self, values: Mapping[str, float]) -> str:
        """Returns the values of the splits as log lines show them: `train 0.05 %, validation 1.48 %`."""
        return ", ".join(f"{name} {self.text(values[name])}" for name in reversed(SPLIT_NAMES) if name in values)


class Found(NamedTuple):
    """What an evaluator finds in samples.

    Attributes:
        total: what is summed up over the samples, float64, of shape ().
        watched: a number that is finite if the errors are, of shape (); None in evaluation.
        cells: for each sample a number of its own, int64, of shape (samples,); None where there are none.
    """

    total: Tensor
    watched: Tensor | None = None
    cells: Tensor | None = None

    def on(self, device: torch.device) -> Found:
        """Returns the same on a device."""
        watched, cells = (value if value is None else value.to(device) for value in (self.watched, self.cells))
        return Found(self.total.to(device), watched, cells)


class Evaluator(NetworkUnit):
    """Gives the error at the network's output, and measures the metric of each split.

    Linked attributes:
        output_: the network's output, of shape (samples, *output_shape).
        output_shape: the shape of one sample of it.
        minibatch: which minibatch this is.
        evaluating: true when the minibatch is not for training.

    Attributes for others:
        err_output_: the error at the network's output.
        collect_: takes what a minibatch shows, where that of several shards is put together first.
        watched_: of each minibatch of training since `first_not_finite` was asked, a number that is finite if its errors are.
    """

    view_group = "evaluator"

    by_shard: ClassVar[bool] = False
    """Whether `run` gives what it finds to `note`, so that a minibatch can be measured in shards."""
    metric: ClassVar[Metric]
    wants: ClassVar[str]
    """What the output is compared with: the loader has it as `minibatch_<wants>`."""
    outputs_are: ClassVar[str] = "values"
    """What a network gives when it is trained: a name from `runner.nn.inference.steps.Answers`, or `values`."""

    output_: Linked[Tensor]
    output_shape: Linked[tuple[int, ...]]
    minibatch: Linked[Minibatch]
    evaluating: Linked[Bool]
    err_output_: Tensor
    watched_: list[tuple[Minibatch, Tensor]]
    collect_: Callable[[Found], None] | None

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "evaluator")
        self.demand("output_", "output_shape", self.wants, "minibatch", "evaluating")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.watched_ = []
        self.collect_ = None

    def note(self, found: Found) -> None:
        """Adds up what the samples at hand have shown, unless it is put together with that of other shards first."""
        if self.collect_ is None:
            self.add(found)
        else:
            self.collect_(found)

    def add(self, found: Found) -> None:
        """Adds up what a minibatch has shown."""
        raise NotImplementedError

    def first_not_finite(self) -> Minibatch | None:
        """Returns the first minibatch of training whose errors were infinite or not a number, and begins anew.

        The numbers stay on the device until then: to read one makes the processor wait for the device.
        """
        watched, self.watched_ = self.watched_, []
        if not watched:
            return None
        wrong = torch.stack([number for _, number in watched]).isfinite().logical_not_()
        return watched[int(wrong.int().argmax())][0] if wrong.any() else None

    def check_data(self, loader: FullBatchLoader) -> None:
        """Raises a ConfigError if the network's output does not fit the data set."""
        raise NotImplementedError

    def compute(self, split: int) -> float:
        """Returns the metric of the samples of a split since it was reset; NaN if there were none."""
        raise NotImplementedError

    @property
    def extra_names(self) -> list[str]:
        """The names of what is measured besides loss and metric."""
        return []

    def scale(self, name: str) -> str:
        """Returns what a number by this name is of, for people: those of different scales cannot be compared."""
        return ""

    def extras(self, split: int) -> dict[str, float]:
        """Returns what was measured of a split besides loss and metric, by name."""
        return {}

    def readings(self, split: int) -> dict[str, str]:
        """Returns what is known so far of a split, for a live display: short texts by their names. Nothing changes."""
        return {}

    def sums(self, split: int) -> list[float]:
        """Returns what is summed up of a split since it was reset: first the samples."""
        return []

    def measured(self, sums: Sequence[float]) -> dict[str, float]:
        """Returns loss and metric by name, of sums or of the difference between two."""
        return {}

    def loss(self, split: int) -> float:
        """Returns the mean loss of the samples of a split since it was reset; NaN if there were none, or nobody knows."""
        return math.nan

    def reset(self, split: int) -> None:
        """Forgets what was measured of a split."""
        raise NotImplementedError
