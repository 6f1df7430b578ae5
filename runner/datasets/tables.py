"""Tables in files, as columns by name."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.checks import first_line, known
from runner.datasets.files import needs
from runner.errors import ConfigError

Column = npt.NDArray[Any]
Table = dict[str, Column]
"""Columns of one length; a column of text has strings."""


def load(key: str, file: str) -> Table:
    """Reads a table.

    Args:
        key: the key of the configuration that names the file.
        file: the file; its ending says its format.

    Raises:
        ConfigError: the file is missing, is of an unknown or another format, or its columns are not of one length.
    """
    path = Path(file)
    if path.suffix not in READERS:
        raise ConfigError(f"{key}={file!r} is of no known format; known: {known(READERS)}")
    if not path.is_file():
        raise ConfigError(f"{key}={file!r} is no file")
    try:
        table = READERS[path.suffix](path)
    except ConfigError:
        raise
    except (OSError, EOFError, ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise ConfigError(f"{key}={file!r} cannot be read: {first_line(error)}") from error
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"{key}={file!r} has columns of different lengths: {lengths}")
    if not any(lengths.values()):
        raise ConfigError(f"{key}={file!r} has no rows")
    return table


def _csv(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        rows, lines = [], []
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(f"line {line} has {len(row)} values, and the first line has {len(rows[0])}")
    header = bool(rows) and not all(map(_is_number, rows[0]))
    names = [name.strip() for name in rows.pop(0)] if header else [str(number) for number in range(len(rows[0]) if rows else 0)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"it has two columns named {twice[0]!r}")
    return {name: _column(values) for name, values in zip(names, zip(*rows, strict=True), strict=False)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(values: tuple[str, ...]) -> Column:
    try:
        return np.array(values, np.float64)
    except ValueError:
        return np.array(values)


def _parquet(path: Path) -> Table:
    with needs("pyarrow", "a .parquet file"):
        from pyarrow import ArrowException, parquet
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise ValueError(first_line(error)) from error
    columns: Table = {}
    for name in table.column_names:
        if table[name].null_count:
            raise ValueError(f"its column {name!r} has {table[name].null_count} empty cells")
        values = table[name].to_numpy()
        columns[name] = values.astype(str) if values.dtype == object else values
    return columns


def _npy(path: Path) -> Table:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2:
        raise ValueError(f"it has {array.ndim} dimensions instead of 2, rows and columns")
    return {str(number): column for number, column in enumerate(array.T)}


def _npz(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as arrays:
        table = dict(arrays)
    if single := [name for name, array in table.items() if array.ndim == 0]:
        raise ValueError(f"its array {single[0]!r} is a single value")
    return table


READERS: dict[str, Callable[[Path], Table]] = {".csv": _csv, ".parquet": _parquet, ".npy": _npy, ".npz": _npz}
"""For each ending of a file's name what reads it."""
