"""Records: rows of numbers, which are part of a run's state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runner.checks import at_least
from runner.graph import Pickleable, Workflow

Row = dict[str, Any]
"""Texts and numbers by name."""

MOST = 100_000
"""Rows of minibatches in a snapshot: the newest. They take 48 bytes each."""
COLUMNS = ("epoch", "minibatch")
OPTIONAL = "gradient_norm"
"""What is left out of a row where it was not measured."""


class Records(Pickleable):
    """What was measured of a run so far. It is state, so a run that goes on has the rows of all that came before.

    A unit has one as an attribute, and adds rows in the order of the run. How long things took is no state: it goes to the
    listener alone.

    Attributes:
        epochs: a row for each epoch and split.
        every: minibatches of training in a row of their own; None for no such rows.
        gradient_norm: whether rows are to have the norm of the gradient.
        names: what is measured of minibatches.
        minibatches: for each row of minibatches: the epoch, the minibatch, and what is named.
        listener_: gets each row, as `metrics.jsonl` has it.
    """

    epochs: list[dict[str, str | float | None]]
    every: int | None
    gradient_norm: bool
    names: list[str]
    minibatches: np.ndarray
    listener_: Callable[[Row], None] | None

    def __init__(self) -> None:
        self.epochs = []
        self.every = None
        self.gradient_norm = False
        self.names = []
        self.minibatches = np.empty((0, 0))
        super().__init__()

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.new_: list[list[float]] = []
        self.listener_ = None

    def __getstate__(self) -> dict[str, Any]:
        self._gather()
        return super().__getstate__()

    def configure(self, *, every: int | None, gradient_norm: bool) -> None:
        """Sets what is measured from here on."""
        at_least("metrics.every", every, 1, "minibatches")
        self.every, self.gradient_norm = every, gradient_norm

    def add_epoch(self, *, seconds: float | None = None, samples: int | None = None, **row: str | float | None) -> None:
        """Adds a row: `epoch` and `split`, and what was measured.

        Args:
            seconds: how long it took.
            samples: how many samples there were.
            row: the row.
        """
        self.epochs.append(row)
        self._tell("epoch", row, seconds, samples)

    def add_minibatches(
        self, *, epoch: int, minibatch: int, seconds: float | None = None, samples: int | None = None, **measured: float
    ) -> None:
        """Adds a row of training between the ends of epochs; all of them name the same numbers."""
        self.names = self.names or list(measured)
        self.new_.append([epoch, minibatch, *(measured[name] for name in self.names)])
        self._tell("minibatches", self._row(self.new_[-1]), seconds, samples)

    def rows(self) -> Iterator[Row]:
        """Yields all rows so far, in their order, as `metrics.jsonl` has them. How long they took is not known any more."""
        self._gather()
        minibatches = iter([(int(row[0]), self._row(row)) for row in self.minibatches.tolist()])
        number, row = next(minibatches, (math.inf, {}))
        for epoch in self.epochs:
            while number < epoch["epoch"] or (number == epoch["epoch"] and epoch["split"] == "train"):  # type: ignore[operator]
                yield _line("minibatches", row, None, None)
                number, row = next(minibatches, (math.inf, {}))
            yield _line("epoch", epoch, None, None)
        while number < math.inf:
            yield _line("minibatches", row, None, None)
            number, row = next(minibatches, (math.inf, {}))

    def _row(self, values: list[float]) -> Row:
        epoch, minibatch, *measured = values
        named = dict(zip(self.names, measured, strict=True))
        if math.isnan(named.get(OPTIONAL, 0.0)):
            del named[OPTIONAL]
        return {"epoch": int(epoch), "minibatch": int(minibatch), "split": "train", **named}

    def _gather(self) -> None:
        """Puts the rows of minibatches that are new into the array."""
        if self.new_:
            before = self.minibatches.reshape(-1, len(self.new_[0]))
            self.minibatches = np.concatenate([before, np.array(self.new_, np.float64)])[-MOST:]
            self.new_ = []

    def _tell(self, kind: str, row: Row, seconds: float | None, samples: int | None) -> None:
        if self.listener_ is not None:
            self.listener_(_line(kind, row, seconds, samples))


def _line(kind: str, row: Row, seconds: float | None, samples: int | None) -> Row:
    speed = samples / seconds if samples and seconds else None
    return {"kind": kind, **row, "seconds": seconds and round(seconds, 4), "samples_per_second": speed and round(speed, 1)}


class Rows(list[Row]):
    """Rows of records, as dicts."""

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`; pandas must be installed."""
        import pandas

        return pandas.DataFrame.from_records(self)


def records_of(workflow: Workflow) -> Iterator[Records]:
    """Yields the records that units of a workflow have."""
    for unit in workflow.units:
        yield from (value for value in vars(unit).values() if isinstance(value, Records))
        if isinstance(unit, Workflow):
            yield from records_of(unit)
