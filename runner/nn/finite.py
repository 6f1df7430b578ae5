"""Whether the numbers of a network are finite, and what is wrong with them, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from runner.graph import Workflow
from runner.nn.layers.base import Forward
from runner.nn.loading.minibatches import Minibatch

SHOWN = 10
"""Samples of a minibatch that a message names."""
GROWN = 1e3
"""A weight above this has grown by a learning rate that is too high."""


def wrong_loss(workflow: Workflow | None, step: Minibatch) -> str:
    """Says which minibatch of training gave a loss that is not finite, and its samples."""
    where = f"from the minibatch of training samples {step.begin} to {step.end - 1} of the epoch's order on"
    return f"the loss is infinite or not a number {where}{_samples(workflow, step)}"


def wrong_number(
    workflow: Workflow | None, metric: str, errors: Mapping[str, float], losses: Mapping[str, float]
) -> str | None:
    """Says which number of the layers, or which loss or error of a split, is not finite, if any is; the error has a name."""
    for name, value in _tensors(workflow):
        # The sum takes a twentieth of the time, and is finite only if all values are.
        if not value.sum().isfinite() and not value.isfinite().all():
            return f"{name} is infinite or not a number"
    found = ((split, what, value) for what, of in (("loss", losses), (metric, errors)) for split, value in of.items())
    return next((f"the {split} {what} is {value}" for split, what, value in found if not math.isfinite(value)), None)


def cause_of_standstill(workflow: Workflow | None) -> str:
    """Says why errors may not move, as the weights tell."""
    # Statistics of the data, which may be large, have one dimension.
    largest = max((float(value.abs().max()) for _, value in _tensors(workflow) if value.dim() > 1), default=0.0)
    if largest > GROWN:
        return f"weights have grown to {largest:.0e}, so the learning rate is too high"
    return "the learning rate may be too low or too high, or the data not scaled (loader.normalization)"


def _samples(workflow: Workflow | None, step: Minibatch) -> str:
    order = getattr(getattr(workflow, "loader", None), "permutation", None)
    if order is None:
        return ""
    numbers = order[step.begin : step.end].tolist()
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f" (samples {', '.join(map(str, numbers[:SHOWN]))}{more}, counted from 0)"


def _tensors(workflow: Workflow | None) -> Iterator[tuple[str, Tensor]]:
    """Yields the fractional numbers that training changes in the layers, each tensor with its name."""
    for unit in () if workflow is None else workflow.units:
        for name, value in unit.tensors().items() if isinstance(unit, Forward) else ():
            if value.is_floating_point() and value.numel():
                yield f"layers.{unit.name}.{name}", value
