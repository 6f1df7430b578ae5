"""What all evaluators have in common: they compare the output with what it shall be, and sum up how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from runner.graph import Bool, Unit, Workflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import CLASS_NAMES


class Metric(NamedTuple):
    """What an evaluator measures; less is better.

    Attributes:
        name: how lines call it.
        digits: behind the point.
        unit: written behind the number.
    """

    name: str
    digits: int
    unit: str

    def text(self, value: float) -> str:
        """Returns a value as lines show it: `1.48 %`."""
        return f"{self.number(value)}{self.unit}"

    def number(self, value: float) -> str:
        """Returns a value without its unit, as names of snapshots have it."""
        return f"{value:.{self.digits}f}"

    def line(self, values: Mapping[str, float]) -> str:
        """Returns the values of the classes of samples as lines show them: `train 0.05 %, validation 1.48 %`."""
        return ", ".join(f"{name} {self.text(values[name])}" for name in reversed(CLASS_NAMES) if name in values)


class Evaluator(Unit):
    """Gives the error at the network's output, and the metric of each class of samples.

    Linked attributes:
        output_: the network's output, of shape (samples, *output_shape).
        output_shape: the shape of one sample of it.
        minibatch: what this minibatch is.
        evaluating: true when the minibatch is not for training.

    Attributes for others:
        err_output_: the error at the network's output.
    """

    view_group = "evaluator"

    metric: Metric
    wants: str
    """What the output is compared with: the loader has it as `minibatch_<wants>`."""

    output_: Tensor
    output_shape: tuple[int, ...]
    minibatch: Minibatch
    evaluating: Bool
    err_output_: Tensor

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "evaluator")
        self.demand("output_", "output_shape", self.wants, "minibatch", "evaluating")

    def check_data(self, loader: FullBatchLoader) -> None:
        """Raises a ConfigError if the network's output does not fit the data set."""
        raise NotImplementedError

    def take(self, sample_class: int) -> float:
        """Returns the metric of what was seen of a class of samples, and begins anew."""
        raise NotImplementedError
