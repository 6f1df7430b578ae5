"""Looks at a table: which column is the label or the target, and which of the others a network can use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import numpy as np

from runner.cli.starting.look import Look, Spread, counted
from runner.datasets import tables
from runner.datasets.cell_numbers import is_number, parsed
from runner.datasets.files import some
from runner.datasets.tables import Array, Column, Table, Unusable
from runner.datasets.texts import Texts
from runner.errors import ConfigError
from runner.nn.loading.table_loader import INDEX

ANSWERS = ("label", "labels", "class", "target", "targets", "y", "species", "category", "outcome", "survived")
"""Names of columns that are mostly what is to be learned, the surest first."""
CLASSES = 20
"""Up to so many different whole numbers, or texts of a column of the data, are taken for classes."""
NUMBERING = "numbers the rows"
EXACT = 2.0**53
"""Up to here a float64 holds every whole number."""

_NUMBERING = re.compile(r"(.*[_ .-])?(id|index|nr|no|number|row)", re.IGNORECASE)


def table_look(file: str, label: str | None) -> Look:
    """Looks at a table.

    Args:
        file: the table.
        label: the column that is to be learned; None: guessed by its name, else the last one.

    Raises:
        ConfigError: the table cannot be read, or nothing can be learned from it as it is.
    """
    table = tables.load("--from", file)
    names = _without_index(table)
    answer = _answer(table, names, label)
    usable, left_out = _features(table, [name for name in names if name != answer])
    if not usable:
        raise ConfigError(f"{table.origin} has no column to learn {answer!r} from{_reasons(left_out)}")
    categories = [name for name in usable if isinstance(table.columns[name], Texts)]
    learned, task, answers = _learned(table, answer)
    loader: dict[str, Any] = {"name": "table", "data_file": file, **answers}
    if left_out:
        loader["columns"] = usable
    if categories:
        loader["categories"] = categories
    return Look(
        what=f"{counted(table.rows, 'row')} of {file!r}",
        task=f"{task} by {counted(len(usable), 'column')}",
        loader=loader,
        samples=table.rows,
        shape=_shape(table, usable),
        notes=[f"left out: {name!r} ({reason})" for name, reason in left_out.items()],
        predict=file,
        **learned,
    )


def _without_index(table: Table) -> list[str]:
    """Returns the columns without those that number the rows, which a loader leaves out, too."""
    leading = set(takewhile(INDEX.fullmatch, table.names))
    return [name for name in table.names if name not in leading and name not in table.index]


def _answer(table: Table, names: list[str], label: str | None) -> str:
    if label is not None:
        return table.name("--label", int(label) if label.isdecimal() else label)
    if len(names) < 2:
        raise ConfigError(f"{table.origin} has {counted(len(names), 'column')}: a label and something to tell it by are two")
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in ANSWERS if name in by_name), names[-1])


def _learned(table: Table, answer: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Returns what a Look has of the column that is learned, the task in words, and the key of the loader."""
    column = table.column(answer)
    if isinstance(column, Texts) and (numbers := parsed(column.names)) is not None:
        column = numbers[column.codes]  # as a loader has it
    if isinstance(column, Texts):
        _check_names(table, answer, column)
        count = len(column.names)
        return {"classes": count}, f"tells the {count} classes of {answer!r}", {"label": answer}
    if column.ndim > 1:
        raise ConfigError(
            f"{table.origin}: {answer!r} has the shape {column.shape}, and what is learned is one number: {_OTHER}"
        )
    values = column.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise ConfigError(f"{table.cell(row, answer)}: the value is empty or not finite: fill it, or {_OTHER}")
    distinct = np.unique(values)
    if len(distinct) == 1:
        raise ConfigError(f"{table.origin}: {answer!r} is always {distinct[0]:g}, so there is nothing to learn: {_OTHER}")
    whole = bool((values == np.floor(values)).all() and values.min() >= 0 and values.max() <= 1000)
    if whole and len(distinct) <= CLASSES and 2 * len(distinct) <= max(len(values), 4):
        found = {"classes": int(values.max()) + 1}
        return found, f"tells the {len(distinct)} classes of {answer!r}", {"label": answer}
    if np.abs(values).max() > EXACT:
        raise ConfigError(f"{table.origin}: {answer!r} has numbers beyond 2^53: scale them, or {_OTHER}")
    return {"targets": Spread.of(values[:, None])}, f"predicts the number {answer!r}", {"targets": [answer]}


_OTHER = "--label COLUMN names another column"


def _check_names(table: Table, answer: str, column: Texts) -> None:
    if "" in column.names:
        raise ConfigError(f"{table.cell(column.row_of(''), answer)}: the cell is empty: fill it, or {_OTHER}")
    if len(column.names) == 1:
        raise ConfigError(f"{table.origin}: {answer!r} is always {column.names[0]!r}, so there is nothing to learn: {_OTHER}")
    if len(column.names) > max(CLASSES, table.rows // 2) or len(column.names) == table.rows:
        count = len(column.names)
        raise ConfigError(f"{table.origin}: {answer!r} has {count} different texts in {table.rows} rows: {_OTHER}")


def _features(table: Table, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the columns that a network can use as they are, and why others are left out."""
    found = table.columns if table.found is None else table.found
    faults = {name: _fault(name, found[name], table.rows) for name in names}
    if all(faults.values()):  # then it is not a number of the row, but all that there is
        faults = {name: "" if fault == NUMBERING else fault for name, fault in faults.items()}
    return [name for name in names if not faults[name]], {name: fault for name, fault in faults.items() if fault}


def _fault(name: str, column: Column | Unusable, rows: int) -> str:
    if isinstance(column, Unusable):
        return column
    if isinstance(column, Texts):
        return _fault_of_texts(column, rows)
    values = column.astype(np.float64)
    if not np.isfinite(values).all():
        return "has cells that are empty or not finite"
    if np.abs(values).max() > EXACT:
        return "has numbers beyond 2^53"
    return NUMBERING if column.ndim == 1 and _numbers_rows(name, values) else ""


def _fault_of_texts(column: Texts, rows: int) -> str:
    if "" in column.names:
        return f"has empty cells: {int((column.codes == column.names.index('')).sum())}"
    others = [text for text in column.names if not is_number(text)]
    if 0 < len(others) < len(column.names) and len(others) * 10 <= len(column.names):
        return f"has numbers, and {some(others, 3)}"
    if len(column.names) == 1:
        return f"is always {column.names[0]!r}"
    if len(column.names) > CLASSES or 2 * len(column.names) > rows:
        return f"has {len(column.names)} different texts"
    if any(text.lower() == "nan" for text in column.names):
        return "has the text 'nan'"
    return ""


def _numbers_rows(name: str, values: Array) -> bool:
    counting = len(values) > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())
    return counting or (_NUMBERING.fullmatch(name.strip()) is not None and len(np.unique(values)) == len(values))


def _shape(table: Table, names: list[str]) -> tuple[int, ...]:
    widths = list(_widths(table, names))
    if len(names) == 1 and not isinstance(column := table.columns[names[0]], Texts) and column.ndim > 1:
        return column.shape[1:]
    return (sum(widths),)


def _widths(table: Table, names: list[str]) -> Iterator[int]:
    for name in names:
        column = table.columns[name]
        yield len(column.names) if isinstance(column, Texts) else int(np.prod(column.shape[1:]))


def _reasons(left_out: dict[str, str]) -> str:
    return ": " + ", ".join(f"{name!r} {reason}" for name, reason in list(left_out.items())[:5]) if left_out else ""
