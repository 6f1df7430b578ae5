"""What is said once about the epochs of a run: errors that do not move, a learning rate of 0, scores that are no numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from runner.graph import Workflow
from runner.nn import finite
from runner.nn.evaluators.evaluator import Metric

log = logging.getLogger(__name__)

STUCK = 10
"""Epochs after which equal errors are said to be stuck."""


class EpochWarnings:
    """What this process has said so far."""

    def __init__(self) -> None:
        self._idle = self._told_idle = False
        self._odd = set[str]()

    def note_rate(self, rate: float | None, *, begins: bool) -> None:
        """Notes the largest learning rate when an epoch of training begins, and when it ends."""
        self._idle = (begins or self._idle) and rate == 0

    def tell_odd(self, name: str, values: Mapping[str, float], epoch: int) -> None:
        """Says that a score is no number, of the first split where it is none."""
        odd = next((split for split, value in values.items() if not math.isfinite(value)), None)
        if odd is not None and name not in self._odd:
            self._odd.add(name)
            log.warning("%s of the %s set is %s in epoch %d: it is left out", name, odd, values[odd], epoch)

    def tell_idle(self, epoch: int) -> None:
        """Says that the learning rate was 0 in the whole epoch, if it was."""
        if self._idle and not self._told_idle:
            self._told_idle = True
            log.warning(
                "The learning rate was 0 in epoch %d, which changed no weights: its policy or scheduler may have ended", epoch
            )

    @staticmethod
    def tell_stuck(history: Sequence[Mapping[str, float]], metric: Metric, workflow: Workflow | None) -> None:
        """Says that the errors have just not moved for `STUCK` epochs; they are not stuck where nothing is wrong any more."""
        last, earlier = history[-STUCK:], history[-STUCK - 1 : -STUCK]
        still = len(last) == STUCK and all(errors == last[0] for errors in last) and earlier != last[:1]
        if still and last[0]["train"] > 0 and not metric.higher:  # else they are not of what decides
            cause = finite.cause_of_standstill(workflow)
            log.warning("The errors have not moved for %d epochs (%s): %s", STUCK, metric.line(history[-1]), cause)
