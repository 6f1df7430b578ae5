"""Records: a row of numbers for each epoch and split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.graph import Pickleable, Workflow

Row = dict[str, Any]
"""Texts and numbers by name."""


class Records(Pickleable):
    """What was measured of a run so far. It is state, so a run that goes on has the rows of all that came before.

    A unit has one as an attribute, and adds rows in the order of the run.

    Attributes:
        epochs: a row for each epoch and split.
    """

    epochs: list[dict[str, str | float | None]]

    def __init__(self) -> None:
        super().__init__()
        self.epochs = []

    def add_epoch(self, **row: str | float | None) -> None:
        """Adds a row: `epoch` and `split`, and what was measured."""
        self.epochs.append(row)


class Rows(list[Row]):
    """Rows of records, as dicts."""

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`; pandas must be installed."""
        import pandas

        return pandas.DataFrame.from_records(self)


def records_of(workflow: Workflow) -> Iterable[Records]:
    """Yields the records that units of a workflow have."""
    for unit in workflow.units:
        yield from (value for value in vars(unit).values() if isinstance(value, Records))
        if isinstance(unit, Workflow):
            yield from records_of(unit)
