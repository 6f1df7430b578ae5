"""Rows as curves, which all trackers name alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from runner.metrics import Row

NO_CURVE = ("kind", "epoch", "minibatch", "split", "seconds", "samples_per_second")
BY_EPOCH = ("learning_rate", "gradient_norm")
"""What is the same for all splits of an epoch."""


class Point(NamedTuple):
    """A number of a curve.

    Attributes:
        name: of the curve: `loss/train` at the ends of epochs, `loss/minibatches` for rows of minibatches.
        step: minibatches of training so far.
        value: the number.
    """

    name: str
    step: int
    value: float


def points(row: Row) -> Iterator[Point]:
    """Yields the points of a row; one from before minibatches were counted has none."""
    if (step := row.get("minibatch")) is None:
        return
    group = row["split"] if row["kind"] == "epoch" else "minibatches"
    for name, value in row.items():
        if name in NO_CURVE or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        if name not in BY_EPOCH or group in ("train", "minibatches"):
            yield Point(f"{name}/{group}", int(step), float(value))
