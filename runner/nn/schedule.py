"""Learning-rate policies: the factor on each learning rate, by epoch or by minibatch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from runner.checks import LARGEST, within
from runner.errors import ConfigError
from runner.graph import Bool, Linked, Unit, Workflow
from runner.nn.layers.weighted import WeightedGradient
from runner.text import shown


def fixed(epoch: int) -> float:
    """Always 1."""
    return 1.0


def exp(epoch: int, *, gamma: float) -> float:
    """gamma^epoch."""
    return float(gamma) ** epoch


def step_exp(epoch: int, *, gamma: float, step: int) -> float:
    """gamma^floor(epoch / step)."""
    return float(gamma) ** (epoch // step)


def inv(epoch: int, *, gamma: float, power: float) -> float:
    """(1 + gamma epoch)^-power."""
    base: float = float(1 + gamma * epoch)
    return math.pow(base, -power)


def cosine(epoch: int, *, period: int, floor: float = 0.0) -> float:
    """From 1 down to `floor` along half a cosine in `period` epochs, and `floor` from then on."""
    done = min(epoch / period, 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def arbitrary_step(epoch: int, *, lrs_with_lengths: Sequence[Sequence[float]]) -> float:
    """Pairs (factor, epochs), one after the other; the last factor holds from then on."""
    ends = list(accumulate(length for _, length in lrs_with_lengths))
    return float(lrs_with_lengths[min(bisect_right(ends, epoch), len(ends) - 1)][0])


POLICIES: dict[str, Callable[..., float]] = {
    policy.__name__: policy for policy in (fixed, exp, step_exp, inv, cosine, arbitrary_step)
}
"""Every policy by its name in the configuration. `epoch` counts from 0; with `by_minibatch` it is a minibatch."""


class LearningRateAdjuster(Unit):
    """Sets the factor on the learning rates of all gradient units, for the epoch or the minibatch that follows.

    Linked attributes:
        epoch_number: epochs served.
        evaluating: true when the minibatch is not for training.

    Attributes:
        minibatches: minibatches of training so far, if the policy counts them.
        scale: multiplies the policy's factor; a roll-back lowers it.

    Args:
        gradients: the units whose rates are adjusted.
        policy: a name from `POLICIES`.
        parameters: the policy's.
        by_minibatch: whether the policy counts minibatches of training instead of epochs.
    """

    view_group = "trainer"
    adjustable = frozenset({"policy", "parameters", "by_minibatch"})

    epoch_number: Linked[int]
    evaluating: Linked[Bool]
    gradients: list[WeightedGradient]
    policy: str
    parameters: dict[str, Any]
    by_minibatch: bool
    minibatches: int
    scale: float

    def __init__(
        self,
        workflow: Workflow,
        gradients: Sequence[WeightedGradient],
        *,
        policy: str,
        parameters: Any,
        by_minibatch: bool = False,
    ) -> None:
        super().__init__(workflow, "lr_adjuster")
        self.gradients = list(gradients)
        self.policy = policy
        self.parameters = dict(parameters)
        self.by_minibatch = by_minibatch
        self.minibatches = 0
        self.scale = 1.0
        self.demand("epoch_number", "evaluating")

    def initialize(self) -> None:
        self._adjust()

    def run(self) -> None:
        if self.by_minibatch and not self.evaluating:
            self.minibatches += 1
        self._adjust()

    def reconfigure(self, **changes: object) -> None:
        if changes.get("by_minibatch", self.by_minibatch) != self.by_minibatch:
            raise ConfigError("lr_adjuster.by_minibatch is fixed once the network is built, so it cannot change on resume")
        super().reconfigure(**changes)

    @property
    def done(self) -> int:
        """What the policy has counted so far: epochs or minibatches."""
        return self.minibatches if self.by_minibatch else self.epoch_number

    def factor_after(self, steps: int) -> float:
        """Returns the policy's factor after so many more epochs or minibatches.

        Raises:
            ConfigError: the policy gives none that a learning rate can have.
        """
        try:
            factor = POLICIES[self.policy](self.done + steps, **self.parameters)
        except (ArithmeticError, ValueError):
            factor = math.nan
        if not 0 <= factor <= LARGEST:
            count = f"{self.done + steps} {'minibatches' if self.by_minibatch else 'epochs'}"
            parameters = shown(self.parameters)[:200]
            raise ConfigError(
                f"lr_adjuster: the policy {self.policy!r} with {parameters} gives the factor {factor} after {count}, which"
                " no learning rate can have"
            )
        return factor

    def extension(self, epochs: int) -> dict[str, int]:
        """Returns the keys, with values, by which a policy that has an end lasts for so many more epochs."""
        end = math.ceil(self.done * (1 + epochs / self.epoch_number)) if self.epoch_number else 0
        return {"lr_adjuster.period": end} if self.policy == "cosine" and self.parameters["period"] < end else {}

    def _adjust(self) -> None:
        factor = self.scale * self.factor_after(0)
        within("lr_adjuster: the factor on the learning rates", factor)
        for gradient in self.gradients:
            gradient.rate_factor = factor
            for rate in gradient.rates():
                if not rate <= LARGEST:
                    within(f"layers.{gradient.forward.name}: learning_rate times {factor:g} =", rate)
