"""Learning-rate policies: the factor on each learning rate, by epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from runner.graph import Unit, Workflow
from runner.nn.weighted import WeightedGradient


def fixed(epoch: int) -> float:
    """Always 1."""
    return 1.0


def exp(epoch: int, *, gamma: float) -> float:
    """gamma^epoch."""
    return gamma**epoch


def step_exp(epoch: int, *, gamma: float, step: int) -> float:
    """gamma^floor(epoch / step)."""
    return gamma ** (epoch // step)


def inv(epoch: int, *, gamma: float, power: float) -> float:
    """(1 + gamma epoch)^-power."""
    return float((1 + gamma * epoch) ** -power)


def cosine(epoch: int, *, period: int, floor: float = 0.0) -> float:
    """From 1 down to `floor` along half a cosine in `period` epochs, and `floor` from then on."""
    done = min(epoch / period, 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def arbitrary_step(epoch: int, *, lrs_with_lengths: Sequence[Sequence[float]]) -> float:
    """Pairs (factor, epochs), one after the other; the last factor holds for ever."""
    ends = list(accumulate(length for _, length in lrs_with_lengths))
    return float(lrs_with_lengths[min(bisect_right(ends, epoch), len(ends) - 1)][0])


POLICIES: dict[str, Callable[..., float]] = {
    policy.__name__: policy for policy in (fixed, exp, step_exp, inv, cosine, arbitrary_step)
}
"""Every policy by its name in the configuration; `epoch` counts from 0."""


class LearningRateAdjuster(Unit):
    """Sets the factor on the learning rates of all gradient units, for the epoch that begins.

    Linked attributes:
        epoch_number: epochs served.

    Attributes:
        scale: multiplies the policy's factor; a roll-back lowers it.

    Args:
        workflow: the workflow.
        gradients: the units whose rates are adjusted.
        policy: a name from `POLICIES`.
        parameters: the policy's.
    """

    view_group = "trainer"
    adjustable = frozenset({"policy", "parameters"})
    epoch_number: int

    def __init__(self, workflow: Workflow, gradients: Sequence[WeightedGradient], *, policy: str, parameters: Any) -> None:
        super().__init__(workflow, "lr_adjuster")
        self.gradients = list(gradients)
        self.policy = policy
        self.parameters = dict(parameters)
        self.scale = 1.0
        self.demand("epoch_number")

    def initialize(self) -> None:
        self.run()

    def run(self) -> None:
        factor = self.scale * POLICIES[self.policy](self.epoch_number, **self.parameters)
        for gradient in self.gradients:
            gradient.rate_factor = factor
