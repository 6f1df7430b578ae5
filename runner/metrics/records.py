"""Records: rows of numbers, which are part of a run's state."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import NoneType
from typing import Any

import numpy as np

from runner.checks import at_least
from runner.errors import ConfigError, SnapshotMismatchError, SnapshotRefusedError, StateError
from runner.graph import Pickleable, Unit, Workflow
from runner.metrics.plain import number

Row = dict[str, Any]
"""Texts and numbers by name."""

MOST = 100_000
"""Rows of minibatches in a snapshot: the newest. They take 48 bytes each."""
GATHERED = 1_000
"""Rows of minibatches that are put into the array together."""
COLUMNS = ("epoch", "minibatch")
OPTIONAL = "gradient_norm"
"""What is left out of a row where it was not measured."""
TAKEN = frozenset({"kind", "seconds", "samples_per_second"})
"""Names in `metrics.jsonl` that no row gives itself."""
WHOLE = 2.0**53
"""Up to here, a fraction keeps whole numbers."""


class Records(Pickleable):
    """What was measured of a run so far. It is state, so a run that goes on has the rows of all that came before.

    A unit has one as an attribute, and adds rows in the order of the run. How long things took is no state: it goes to the
    listener alone. Numbers may be those of numpy, or tensors of one number.

    Attributes:
        epochs: a row for each epoch and split.
        every: minibatches of training in a row of their own; None for no such rows.
        gradient_norm: whether rows are to have the norm of the gradient.
        names: what is measured of minibatches.
        minibatches: for each row of minibatches: the epoch, the minibatch, and what is named. float64.
        listener_: gets each row, as `metrics.jsonl` has it.
    """

    epochs: list[dict[str, str | bool | float | None]]
    # Snapshots from before minibatches had rows lack these.
    every: int | None = None
    gradient_norm: bool = False
    names: Sequence[str] = ()
    minibatches: np.ndarray = np.empty((0, 0))
    listener_: Callable[[Row], None] | None

    def __init__(self) -> None:
        self.epochs = []
        self.configure(every=None, gradient_norm=False)
        self.names = ()
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

    def check_restored(self) -> None:
        """Checks the rows that a snapshot has brought, whose attributes are of the declared types.

        Raises:
            SnapshotRefusedError: they are no rows.
        """
        if not all(map(_is_row, self.epochs)):
            raise SnapshotRefusedError("its records have a row without epoch and split, or with a name that is taken")
        texts = (text for row in self.epochs for text in (*row, *row.values()) if isinstance(text, str))
        if not all(number(text) == text for text in (*texts, *self.names)):
            raise SnapshotRefusedError("its records have a text that is none")
        if len({*self.names, *COLUMNS, "split", *TAKEN}) != len(self.names) + len(COLUMNS) + 1 + len(TAKEN):
            raise SnapshotRefusedError("its records name a number of minibatches twice, or by a name that is taken")
        table = self.minibatches
        if table.dtype != np.float64 or table.ndim != 2 or (len(table) and table.shape[1] != len(COLUMNS) + len(self.names)):
            raise SnapshotRefusedError("its records have rows of minibatches that are not of the numbers that they name")
        places = table[:, : len(COLUMNS)]
        if not ((places >= 0) & (places <= WHOLE)).all():
            raise SnapshotRefusedError("its records have rows of minibatches without an epoch or a minibatch")

    def check_names(self, names: Collection[str]) -> None:
        """Raises a SnapshotMismatchError if the rows of minibatches so far name something else than further ones will."""
        if self.names and {*self.names} != {*names}:
            raise SnapshotMismatchError(
                f"the rows of minibatches in the snapshot have {', '.join(sorted(self.names))[:200]}, and the run would go on"
                f" with {', '.join(sorted(names))}"
            )

    def add_epoch(
        self,
        *,
        epoch: int,
        split: str,
        minibatch: int | None = None,
        seconds: float | None = None,
        samples: int | None = None,
        **measured: Any,
    ) -> None:
        """Adds a row at the end of an epoch.

        Args:
            epoch: from 1.
            split: which samples were measured.
            minibatch: minibatches of training so far.
            seconds: how long it took.
            samples: how many samples there were.
            measured: numbers and texts.

        Raises:
            StateError: something is neither a number nor text, or has a name that is taken.
        """
        placed = {"epoch": epoch} if minibatch is None else {"epoch": epoch, "minibatch": minibatch}
        row = {name: _checked(name, value) for name, value in (placed | {"split": split} | measured).items()}
        if not _is_row(row):
            raise StateError(f"a row of the epoch {epoch!r} and the split {split!r} has a name that is taken, or no such place")
        self.epochs.append(row)
        self._tell("epoch", row, seconds, samples)

    def add_minibatches(
        self, *, epoch: int, minibatch: int, seconds: float | None = None, samples: int | None = None, **measured: Any
    ) -> None:
        """Adds a row of training between the ends of epochs; all of them name the same numbers.

        Raises:
            StateError: something is no number, or the row names others than those before.
        """
        self.names = self.names or tuple(measured)
        if {*self.names} != measured.keys():
            raise StateError(f"rows of minibatches have {', '.join(self.names)}, and now there are {', '.join(measured)}")
        self.new_.append([int(epoch), int(minibatch), *(_fraction(name, measured[name]) for name in self.names)])
        row = self._row(self.new_[-1])
        if len(self.new_) >= GATHERED:
            self._gather()
        self._tell("minibatches", row, seconds, samples)

    def rows(self) -> Iterator[Row]:
        """Yields all rows so far, in their order, as `metrics.jsonl` has them. How long they took is not known any more."""
        self._gather()
        minibatches = iter([(int(row[0]), self._row(row)) for row in self.minibatches.tolist()])
        reached, row = next(minibatches, (math.inf, {}))
        for epoch in self.epochs:
            while reached < epoch["epoch"] or (reached == epoch["epoch"] and epoch["split"] == "train"):  # type: ignore[operator]
                yield _line("minibatches", row, None, None)
                reached, row = next(minibatches, (math.inf, {}))
            yield _line("epoch", epoch, None, None)
        while reached < math.inf:
            yield _line("minibatches", row, None, None)
            reached, row = next(minibatches, (math.inf, {}))

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


def _checked(name: str, value: Any) -> str | bool | float | None:
    plain: str | bool | float | None = number(value)
    if not isinstance(plain, str | bool | int | float | NoneType):
        raise StateError(f"the {name} of a row is {str(value)[:100]!r}, and must be a number or text")
    return plain


def _fraction(name: str, value: Any) -> float:
    plain = _checked(name, value)
    if plain is None or isinstance(plain, str):
        raise StateError(f"the {name} of a row of minibatches is {value!r}, and must be a number")
    return float(plain)


def _is_row(row: Row) -> bool:
    """Whether a row of numbers and texts is one of an epoch and split."""
    places = type(row.get("epoch")) is int and type(row.get("minibatch")) in (int, NoneType)
    return places and type(row.get("split")) is str and TAKEN.isdisjoint(row)


def _line(kind: str, row: Row, seconds: float | None, samples: int | None) -> Row:
    speed = samples / seconds if samples and seconds else None
    return {"kind": kind, **row, "seconds": seconds and round(seconds, 4), "samples_per_second": speed and round(speed, 1)}


class Rows(list[Row]):
    """Rows of records, as dicts."""

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`; pandas must be installed."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ConfigError("to_pandas() needs the package pandas: pip install pandas") from error
        return pandas.DataFrame.from_records(self)


def records_of(workflow: Workflow) -> Iterator[Records]:
    """Yields the records that units of a workflow have, each once; a loop, since a snapshot may nest workflows deeply."""
    yield from _records_in(workflow.units)


def rows_so_far(workflow: Workflow) -> list[Row]:
    """Returns the rows of all records of a workflow, by epoch and minibatch; those of each stay in their order.

    Of one minibatch they are in the order in which the units run.
    """
    rows: list[Row] = []
    waiting: list[tuple[tuple[float, float], int, Row, Iterator[Row]]] = []
    records = [iter(records.rows()) for records in _records_in(workflow.units_in_dependency_order)]
    for turn, left in enumerate(records):
        _wait(waiting, turn, left)
    while waiting:
        _, turn, row, left = heapq.heappop(waiting)
        rows.append(row)
        _wait(waiting, turn, left)
    return rows


def _wait(waiting: list[Any], turn: int, left: Iterator[Row]) -> None:
    """Has the next row of those that are left wait for its turn."""
    if (row := next(left, None)) is not None:
        minibatch = row.get("minibatch")
        heapq.heappush(waiting, ((row["epoch"], math.inf if minibatch is None else minibatch), turn, row, left))


def _records_in(units: Iterable[Unit]) -> Iterator[Records]:
    seen: set[int] = set()
    waiting = [iter(units)]
    while waiting:
        unit = next(waiting[-1], None)
        if unit is None:
            waiting.pop()
            continue
        for value in vars(unit).values():
            if isinstance(value, Records) and id(value) not in seen:
                seen.add(id(value))
                yield value
        if isinstance(unit, Workflow):
            waiting.append(iter(unit.units))


def history_of(workflow: Workflow) -> Rows:
    """Returns what was measured of any workflow so far: a row for each epoch and split, as in `metrics.jsonl`."""
    return Rows(row for records in records_of(workflow) for row in records.epochs)
