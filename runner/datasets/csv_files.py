"""CSV files: read by pyarrow where it is installed, in blocks, and otherwise by Python, with the same values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from runner.datasets.cell_numbers import Numbers, parsed
from runner.datasets.csv_layout import Layout, Row, layout, opened, rows
from runner.datasets.texts import Texts

log = logging.getLogger(__name__)

Column = npt.NDArray[Any] | Texts
Columns = dict[str, Column]

BLOCK_ROWS = 10_000
BLOCK_BYTES = 8 << 20

LARGE = 1 << 20
"""Bytes from which pyarrow is worth its import."""
WIDE = 1_000
"""Columns from which Python is the faster one: pyarrow has a cost for each."""


def read(
    path: Path, texts: Collection[str | int], header: bool | None, expected: Collection[str] = ()
) -> tuple[Columns, Callable[[int], str], Callable[[str], Iterator[str]]]:
    """Reads a CSV file.

    Args:
        path: the file, with or without gzip.
        texts: columns to take as text even if all their cells are numbers, by name or number.
        header: whether the first line has the names of the columns, or None to find out.
        expected: names by which a first line is known to have names, if it has all of them.

    Returns:
        The columns by name, what tells the line of a row, and what yields the cells of a column as they are written.

    Raises:
        ValueError: it is not CSV, or not UTF-8.
    """
    found = layout(path, header, expected)
    if not found.header and header is None:
        _say_no_header(path, found)
    textual = found.textual() | {name for text in texts if (name := column_named(found.names, text)) is not None}
    if found.trailing:
        textual.add(found.names[-1])
    columns = _by_pyarrow(path, found, textual) or _by_python(path, found, textual)
    if found.trailing and isinstance(last := columns.pop(found.names[-1]), Texts) and last.names not in ([], [""]):
        raise ValueError(f"{_line(path, found, last.row_of(last.names[1]))} has one value more than others")
    for name, column in columns.items():
        if isinstance(column, Texts) and (text := next((text for text in column.names if "\0" in text), None)) is not None:
            raise ValueError(f"{_line(path, found, column.row_of(text))}, column {name!r} has a NUL character: it is damaged")
    return columns, lambda row: _line(path, found, row), lambda name: _cells(path, found, name)


def column_named(names: Sequence[str], reference: str | int) -> str | None:
    """Returns the name of the column that is meant by its name or its number from 0, or None; a name comes first."""
    if type(reference) not in (str, int):
        return None
    if (name := str(reference).strip()) in names:
        return name
    return names[reference] if isinstance(reference, int) and 0 <= reference < len(names) else None


def _say_no_header(path: Path, found: Layout) -> None:
    mixed = found.textual() != set()
    log.log(
        logging.WARNING if mixed else logging.INFO,
        "%s has no header: its first line is taken for a sample, and columns are numbered from 0 (loader.header=true takes it"
        " for names)",
        path,
    )


def _line(path: Path, found: Layout, row: int) -> str:
    """Returns where a row is; the file is read again."""
    line, _ = next(islice(rows(path, found.delimiter), row + found.header, None))
    return f"line {line}"


def _cells(path: Path, found: Layout, name: str) -> Iterator[str]:
    """Yields the cells of a column; the file is read again."""
    place = found.names.index(name)
    return (row[place] for _, row in islice(rows(path, found.delimiter), found.header, None))


class _Late(Exception):
    """Text has turned up in columns that had numbers so far."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(names)
        self.names = names


def _by_python(path: Path, found: Layout, textual: set[str]) -> Columns:
    """Reads by Python's csv module. Where text turns up in a column late, the file is read again with that column as text."""
    while True:
        columns = _empty(found, textual)
        try:
            for block in _blocks(path, found):
                _extend_all(columns, zip(*block, strict=True))
        except _Late as late:
            textual = textual | late.names
        else:
            return _finished(columns)


def _blocks(path: Path, found: Layout) -> Iterator[list[Row]]:
    if found.complete:
        yield found.sample
        return
    all_rows = (row for _, row in islice(rows(path, found.delimiter), found.header, None))
    while block := list(islice(all_rows, BLOCK_ROWS)):
        yield block


def _extend_all(columns: dict[str, Numbers | Texts], block: Iterable[tuple[str, ...]]) -> None:
    late: set[str] = set()
    for (name, column), cells in zip(columns.items(), block, strict=False):
        if isinstance(column, Texts):
            column.extend(cells)
        elif (numbers := parsed(cells)) is None:
            late.add(name)
        else:
            column.extend(numbers)
    if late:
        raise _Late(late)


def _empty(found: Layout, textual: set[str]) -> dict[str, Numbers | Texts]:
    return {name: Texts() if name in textual else Numbers(found.expected) for name in found.names}


def _finished(columns: dict[str, Numbers | Texts]) -> Columns:
    return {name: column if isinstance(column, Texts) else column.values for name, column in columns.items()}


def _by_pyarrow(path: Path, found: Layout, textual: set[str]) -> Columns | None:
    """Reads by pyarrow, or returns None where Python does it better: for small and wide files, and for what pyarrow refuses.

    So Python's messages are the only ones, and a number that pyarrow does not know, such as +1, is read all the same.
    """
    if path.stat().st_size < LARGE or len(found.names) > WIDE or found.first_line != 1:
        return None
    try:
        import pyarrow
    except ImportError:
        return None
    text, number = pyarrow.string(), pyarrow.float64()
    types = {name: text if name in textual else number for name in found.names}
    columns = _empty(found, textual)
    try:
        with opened(path) as stream:
            file = _QuoteCounter(stream)
            for batch in _arrow_reader(file, found, types, newlines=True):
                for column, cells in zip(columns.values(), batch.columns, strict=True):
                    if isinstance(column, Texts):
                        _extend(column, cells)
                    else:
                        column.extend(cells.to_numpy())
            if file.quotes % 2:
                raise ValueError("a quote may have no end, which pyarrow does not tell")
    except (pyarrow.ArrowException, ValueError):
        return None
    finally:
        pyarrow.default_memory_pool().release_unused()
    return _finished(columns)


def _arrow_reader(file: _QuoteCounter, found: Layout, types: dict[str, Any], newlines: bool = False) -> Any:
    """Returns pyarrow's reader of the columns that have a type here; cells may have newlines in them, or not."""
    import pyarrow
    from pyarrow import csv

    return csv.open_csv(
        pyarrow.PythonFile(file, "r"),
        read_options=csv.ReadOptions(column_names=found.names, skip_rows=int(found.header), block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=found.delimiter, newlines_in_values=newlines),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[], strings_can_be_null=False
        ),
    )


def arrow_batches(path: Path, found: Layout, names: Collection[str], texts: Collection[str]) -> Iterator[Columns | None]:
    """Yields columns of a CSV file, some rows at a time, as far as pyarrow reads them without a doubt; None if that is all.

    Quotes are left to Python: of one without an end, pyarrow does not tell.
    """
    if path.stat().st_size < LARGE or len(found.names) > WIDE or found.first_line != 1:
        return
    try:
        import pyarrow
    except ImportError:
        return
    try:
        with opened(path) as stream:
            file = _QuoteCounter(stream)
            types = {name: pyarrow.string() if name in texts else pyarrow.float64() for name in names}
            for batch in _arrow_reader(file, found, types):
                if file.quotes:
                    return
                columns: Columns = {}
                for name, cells in zip(names, batch.columns, strict=True):
                    if name in texts:
                        columns[name] = column = Texts()
                        _extend(column, cells)
                    else:
                        columns[name] = cells.to_numpy()
                yield columns
            if not file.quotes:
                yield None
    except (pyarrow.ArrowException, ValueError):
        return
    finally:
        pyarrow.default_memory_pool().release_unused()


class _QuoteCounter:
    """A file that counts the quotes that are read from it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.quotes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.quotes += data.count(b'"')
        return data


def _extend(column: Texts, cells: Any) -> None:
    encoded = cells.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    if any(name.lstrip().startswith('"') for name in names):
        raise ValueError("a quote after a blank, which pyarrow does not know")
    column.extend_coded(names, encoded.indices.to_numpy())
