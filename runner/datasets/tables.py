"""Tables in files, as columns by name."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.checks import first_line, known
from runner.datasets import csv_files
from runner.datasets.cell_numbers import beyond_exact, inexact, is_whole
from runner.datasets.files import GZIP_ERRORS, foreign, needs, seen_from, some
from runner.datasets.texts import Texts, trimmed
from runner.errors import ConfigError

Array = npt.NDArray[Any]
Column = Array | Texts
Reference = str | int
"""A column, by its name or its number from 0."""


class Unusable(str):
    """Why a column can be used for nothing: what is not asked for does no harm."""


@dataclass(frozen=True)
class Table:
    """Columns of one length.

    Attributes:
        origin: the key and the file, for messages.
        columns: the columns by name; those of text are `Texts`, others arrays of numbers.
        row_name: tells how a person finds a row, such as `line 5`.
        written: yields the cells of a column of numbers as they are written, in files that have them as text.
        index: the columns that number or name the rows, as pandas has noted in the file.
        found: all columns of the file, in their order, with those that can be used for nothing; if not given, `columns`.
    """

    origin: str
    columns: dict[str, Column]
    row_name: Callable[[int], str]
    written: Callable[[str], Iterator[str]] | None = None
    index: frozenset[str] = frozenset()
    found: Mapping[str, Column | Unusable] | None = None

    @property
    def names(self) -> list[str]:
        """The names of all columns of the file."""
        return list(self.columns if self.found is None else self.found)

    def column(self, name: str) -> Column:
        """Returns a column.

        Raises:
            ConfigError: it can be used for nothing.
        """
        if self.found is not None and isinstance(reason := self.found[name], Unusable):
            raise ConfigError(f"{self.origin} cannot be read: its column {name!r} {reason}")
        return self.columns[name]

    def cell(self, row: int, column: str) -> str:
        """Returns where a cell is, for messages."""
        return f"{self.origin}, {self.row_name(row)}, column {column!r}"

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def taken(self, begin: int, end: int) -> Table:
        """Returns some of the rows."""
        columns: dict[str, Column] = {
            name: column.taken(begin, end) if isinstance(column, Texts) else column[begin:end]
            for name, column in self.columns.items()
        }
        return Table(self.origin, columns, lambda row: self.row_name(begin + row), index=self.index)

    def first_inexact(self, name: str) -> tuple[int, object] | None:
        """Returns the row and the value of the first number in a column of whole ones that float64 cannot hold, or None."""
        column = self.column(name)
        if isinstance(column, Texts):
            return None
        if (index := inexact(column)) is not None:
            return index[0], column[index]
        if self.written is None or not (beyond := beyond_exact(column)).any():
            return None
        if not all(map(is_whole, self.written(name))):
            return None  # it measures something, and is as exact as a measure has to be
        large = ((row, text.strip()) for row, text in enumerate(self.written(name)) if beyond[row])
        return next(((row, text) for row, text in large if Decimal(text) != Decimal(column[row])), None)

    def name(self, key: str, reference: Reference) -> str:
        """Returns the name of a column that a key refers to.

        Raises:
            ConfigError: there is no such column.
        """
        names = self.names
        if (name := csv_files.column_named(names, reference)) is not None:
            return name
        meant = "".join(f"did you mean {close!r}? " for close in get_close_matches(str(reference), names, 1))
        raise ConfigError(
            f"{key}: {reference!r} is not a column of {self.origin}; {meant}known: {some(names)}, or 0 to {len(names) - 1}"
        )

    def texts(self, name: str) -> Texts:
        """Returns a column as text; a whole number is written without a decimal point."""
        column = self.column(name)
        if isinstance(column, Texts):
            return column
        values, codes = np.unique(column, return_inverse=True)
        texts = Texts()
        texts.extend_coded([_text(value) for value in values.tolist()], codes)
        return texts


def numbered(row: int) -> str:
    """Returns how a row is named in files that have no lines."""
    return f"row {row} (counted from 0)"


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def load(
    key: str, file: str, texts: Collection[Reference] = (), *, header: bool | None = None, expected: Collection[str] = ()
) -> Table:
    """Reads a table.

    Args:
        key: the key of the configuration that names the file.
        file: the file; its ending says its format.
        texts: columns of a CSV file to take as text even if all their cells are numbers.
        header: whether the first line of a CSV file has names, or None to find out.
        expected: names by which a first line is known to have names, if it has all of them.

    Raises:
        ConfigError: the file is missing, is of an unknown or another format, or its columns are not of one length.
    """
    path, origin = Path(file), f"{key}={file!r}"
    endings = (*CSV_ENDINGS, *READERS)
    ending = next((ending for ending in endings if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ConfigError(f"{origin} is of no known format; known: {known(endings)}")
    if not path.is_file():
        raise ConfigError(f"{origin} is not a file{seen_from(path)}")
    written: Callable[[str], Iterator[str]] | None
    found: Mapping[str, Column | Unusable]
    try:
        if ending in CSV_ENDINGS:
            found, row_name, written = csv_files.read(path, texts, header, expected)
        else:
            found, row_name, written = READERS[ending](path), numbered, None
            if ending == ".parquet":
                written = partial(_parquet_texts, path)
    except ConfigError:
        raise
    except (*GZIP_ERRORS, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{origin} cannot be read: {_instead(path, ending) or first_line(error)}") from error
    columns = {name: column for name, column in found.items() if not isinstance(column, Unusable)}
    if not columns and found:
        name, reason = next(iter(found.items()))
        raise ConfigError(f"{origin} cannot be read: its column {name!r} {reason}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"{origin} has columns of different lengths: {dict(list(lengths.items())[:10])}")
    if not any(lengths.values()):
        raise ConfigError(f"{origin} has no rows")
    return Table(origin, columns, row_name, written, _index(path) if ending == ".parquet" else frozenset(), found)


def _instead(path: Path, ending: str) -> str | None:
    """Returns what a file is instead of what its ending says, if that can be told."""
    own = {".parquet": b"PAR1", ".npy": b"\x93NUMPY", ".npz": b"PK"}.get(ending)
    if own is None or not os.access(path, os.R_OK):
        return None
    with path.open("rb") as file:
        head = file.read(32)
    return None if head.startswith(own) else foreign(head)


def _parquet(path: Path) -> dict[str, Column | Unusable]:
    with _opened_parquet(path) as file:
        table = file.read()
    return {trimmed(name): _from_arrow(table[name]) for name in table.column_names}


@contextmanager
def _opened_parquet(path: Path) -> Iterator[Any]:
    with needs("pyarrow", "a .parquet file"):
        from pyarrow import ArrowException, parquet
    try:
        with parquet.ParquetFile(path) as file:
            if repeated := [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]:
                raise ValueError(f"it has two columns named {repeated[0]!r}")
            yield file
    except ArrowException as error:
        raise ValueError(first_line(error)) from error


def _parquet_texts(path: Path, name: str) -> Iterator[str]:
    """Yields the cells of a column as text: decimals may have more digits than float64."""
    with _opened_parquet(path) as file:
        import pyarrow

        table = file.read()
        yield from next(table[own] for own in table.column_names if trimmed(own) == name).cast(pyarrow.string()).to_pylist()


def parquet_names(path: Path) -> list[str]:
    """Returns the names of the columns of a Parquet file.

    Raises:
        ValueError: it is none.
    """
    with _opened_parquet(path) as file:
        return [trimmed(name) for name in file.schema_arrow.names]


def parquet_batches(path: Path, names: Collection[str], size: int) -> Iterator[tuple[dict[str, Column], int]]:
    """Yields columns of a Parquet file, some rows at a time, and how many rows it has; empty cells are NaN, or empty texts.

    Args:
        path: the file.
        names: the columns, as `parquet_names` has them.
        size: rows at a time, at most.

    Raises:
        ValueError: it is damaged, or a column is neither of numbers nor of text.
    """
    with _opened_parquet(path) as file:
        import pyarrow

        wanted = [name for name in file.schema_arrow.names if trimmed(name) in names]
        for batch in file.iter_batches(batch_size=size, columns=wanted):
            table = pyarrow.Table.from_batches([batch])
            columns = {trimmed(name): _usable(name, _from_arrow(_filled(table[name]))) for name in wanted}
            yield columns, file.metadata.num_rows


def _usable(name: str, column: Column | Unusable) -> Column:
    if isinstance(column, Unusable):
        raise ValueError(f"its column {name!r} {column}")
    return column


def _filled(column: Any) -> Any:
    """Returns a column of Arrow without empty cells."""
    if not column.null_count:
        return column
    import pyarrow
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    cast = _without_decimals(column.cast(kind))
    return cast.cast(pyarrow.float64()).fill_null(float("nan")) if is_number else cast.fill_null("")


def _without_decimals(column: Any) -> Any:
    """Returns a column of decimals as the nearest numbers of float64; Arrow's own cast divides, and so rounds twice."""
    import pyarrow

    is_decimal = pyarrow.types.is_decimal(column.type)
    return column.cast(pyarrow.string()).cast(pyarrow.float64()) if is_decimal else column


def _index(path: Path) -> frozenset[str]:
    """Returns the columns of a Parquet file that are the index of what pandas has written."""
    from pyarrow import parquet

    about = parquet.read_schema(path).pandas_metadata or {}
    return frozenset(trimmed(name) for name in about.get("index_columns", ()) if isinstance(name, str))


def _from_arrow(column: Any) -> Column | Unusable:
    from pyarrow import types

    if column.null_count:
        row = column.is_null().to_numpy().argmax()
        return Unusable(f"has {column.null_count} empty cells, the first in row {row} (counted from 0)")
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_dictionary(column.type):
        column = column.cast(kind)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = Texts()
        for chunk in column.chunks:
            encoded = chunk.dictionary_encode()
            texts.extend_coded(encoded.dictionary.to_pylist(), encoded.indices.to_numpy())
        return texts
    if types.is_decimal(kind):
        column = _without_decimals(column)
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return Unusable(f"is of type {kind}, and neither numbers nor text")
    array: Array = column.to_numpy()
    return array


def _npy(path: Path) -> dict[str, Column | Unusable]:
    with _loaded(path, np.ndarray) as array:
        return _matrix(array)


def _matrix(array: Array) -> dict[str, Column | Unusable]:
    if array.dtype.names:
        return {name: _from_numpy(array[name]) for name in array.dtype.names}
    if array.ndim != 2:
        raise ValueError(f"it has {array.ndim} dimensions instead of 2, rows and columns")
    return {str(number): _from_numpy(column) for number, column in enumerate(array.T)}


def _npz(path: Path) -> dict[str, Column | Unusable]:
    with _loaded(path, np.lib.npyio.NpzFile) as arrays:
        if others := [name for name in arrays.zip.namelist() if not name.endswith(".npy")]:
            raise ValueError(f"it has {some(others)} beside arrays")
        return {name: _from_numpy(array) for name, array in arrays.items()}


@contextmanager
def _loaded(path: Path, kind: type) -> Iterator[Any]:
    """Opens a file of numpy's, which must hold an array or arrays; numpy leaves one open that it cannot read."""
    with path.open("rb") as file:
        try:
            content = np.load(file, allow_pickle=False)
        except MemoryError as error:
            raise ValueError(f"its header announces more than there is memory for: {first_line(error)}") from error
        if not isinstance(content, kind):
            raise ValueError("it is another kind of file of numpy")
        yield content


def _from_numpy(array: Array) -> Column | Unusable:
    if array.ndim == 0:
        return Unusable("is a single value")
    if array.dtype.kind in "US" and array.ndim == 1:
        try:
            return Texts(array.astype(str).tolist())
        except UnicodeDecodeError:
            return Unusable("has bytes that are not ASCII: save it as text")
    if array.dtype.kind not in "biuf":
        shape = f" and has {array.ndim} dimensions" if array.ndim > 1 else ""
        return Unusable(f"is of type {array.dtype}{shape}, and neither numbers nor a column of text")
    with np.errstate(over="ignore"):  # what is too large is told with its place, as infinite
        return array.astype(np.float64) if array.dtype.itemsize > 8 else array


CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

READERS: dict[str, Callable[[Path], dict[str, Column | Unusable]]] = {".parquet": _parquet, ".npy": _npy, ".npz": _npz}
"""For each other ending of a file's name what reads it."""
