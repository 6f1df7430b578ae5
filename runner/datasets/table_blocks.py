"""Tables that are larger than memory: read some rows at a time, and past rows that are damaged."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

from runner.checks import first_line
from runner.datasets import csv_files, tables
from runner.datasets.cell_numbers import parsed
from runner.datasets.csv_layout import Layout, Row, each_row, layout
from runner.datasets.files import GZIP_ERRORS, seen_from
from runner.datasets.tables import CSV_ENDINGS, Column, Table, numbered
from runner.datasets.texts import Texts
from runner.errors import ConfigError

CELLS = 1 << 20
"""Cells that are read at once, about."""
MOST_ROWS = 8192
"""Rows that are read at once."""


@dataclass(frozen=True)
class TableBlock:
    """Some rows of a table.

    Attributes:
        table: those that could be read.
        rows: how many there are, damaged ones included.
        damaged: for each that is damaged, its place among them and what is wrong.
        done: the share of the file that has been read, about.
    """

    table: Table
    rows: int
    damaged: dict[int, str] = field(default_factory=dict)
    done: float = 0.0


class TableBlocks:
    """The blocks of a table, and its columns, which are known before any is read.

    Args:
        origin: the key and the file, for messages.
        path: the file; its ending says its format.
        header: whether the first line of a CSV file has names, or None to find out.
        expected: names by which a first line is known to have names, if it has all of them.

    Attributes:
        names: the names of its columns.
        headless: whether the columns have no names but their numbers.

    Raises:
        ConfigError: it is no file, of an unknown format, or cannot be read at all.
    """

    def __init__(self, origin: str, path: Path, header: bool | None = None, expected: Collection[str] = ()) -> None:
        self.origin = origin
        self._path = path
        self._layout: Layout | None = None
        self._table: Table | None = None
        if not path.is_file():
            raise ConfigError(f"{origin} is not a file{seen_from(path)}")
        with _readable(origin):
            if path.name.lower().endswith(CSV_ENDINGS):
                self._layout = layout(path, header, expected, damaged=True)
                self.names = self._layout.names[: len(self._layout.names) - self._layout.trailing]
                self.headless = not self._layout.header
            elif path.name.lower().endswith(".parquet"):
                self.names, self.headless = tables.parquet_names(path), False
            else:
                self._table = tables.load(origin.partition("=")[0], str(path))
                self.names = self._table.names
                self.headless = self.names == [str(number) for number in range(len(self.names))]

    def read(self, wanted: Collection[str], texts: Collection[str]) -> Iterator[TableBlock]:
        """Yields the blocks.

        Args:
            wanted: the names of the columns that are read.
            texts: those of them that are text, even if all their cells are numbers.

        Raises:
            ConfigError: the file is damaged so that what follows cannot be read.
        """
        names = [name for name in self.names if name in wanted]
        with _readable(self.origin):
            if self._layout is not None:
                yield from self._of_csv(self._layout, names, texts)
            elif self._table is not None:
                yield from self._of_columns(self._table, names)
            else:
                yield from self._of_parquet(names)

    def _of_columns(self, table: Table, names: list[str]) -> Iterator[TableBlock]:
        whole = Table(self.origin, {name: table.column(name) for name in names}, numbered)
        step = _rows_for(len(names))
        for begin in range(0, whole.rows, step):
            block = whole.taken(begin, min(begin + step, whole.rows))
            yield TableBlock(block, block.rows, done=(begin + block.rows) / whole.rows)

    def _of_parquet(self, names: list[str]) -> Iterator[TableBlock]:
        done = 0
        for columns, rows in tables.parquet_batches(self._path, names, _rows_for(len(names))):
            count = len(next(iter(columns.values())))
            table = Table(self.origin, columns, lambda row, begin=done: numbered(begin + row))  # type: ignore[misc]
            done += count
            yield TableBlock(table, count, done=done / rows)

    def _of_csv(self, found: Layout, names: list[str], texts: Collection[str]) -> Iterator[TableBlock]:
        done, expected = 0, max(found.expected, 1)
        for batch in csv_files.arrow_batches(self._path, found, names, texts):
            if batch is None:
                return
            count = len(next(iter(batch.values())))
            first = done + found.header + 1
            table = Table(self.origin, batch, lambda row, first=first: f"line {first + row}")  # type: ignore[misc]
            done += count
            yield TableBlock(table, count, done=min(1.0, done / expected))
        # From here on, pyarrow is not there, or not sure.
        places = [(name, found.names.index(name)) for name in names]
        rows = islice(each_row(self._path, found.delimiter, "surrogateescape"), done + found.header, None)
        while block := list(islice(rows, _rows_for(len(found.names)))):
            done += len(block)
            yield _block(self.origin, block, places, texts, min(1.0, done / expected))


def _block(
    origin: str, block: list[tuple[int, Row | str]], places: list[tuple[str, int]], texts: Collection[str], done: float
) -> TableBlock:
    """Returns rows of a CSV file as columns; those that are texts are what is wrong with a row."""
    good = [(line, row) for line, row in block if not isinstance(row, str)]
    cells = [*zip(*(row for _, row in good), strict=True)]
    columns = {name: _column(cells[place] if cells else (), name in texts) for name, place in places}
    table = Table(origin, columns, lambda row: f"line {good[row][0]}")
    return TableBlock(table, len(block), {at: row for at, (_, row) in enumerate(block) if isinstance(row, str)}, done)


def _column(cells: tuple[str, ...], text: bool) -> Column:
    numbers = None if text else parsed(cells)
    return Texts(cells) if numbers is None else numbers


def _rows_for(columns: int) -> int:
    return max(1, min(MOST_ROWS, CELLS // max(1, columns)))


@contextmanager
def _readable(origin: str) -> Iterator[None]:
    """Within it a file is read; one that cannot be is a ConfigError."""
    try:
        yield
    except (*GZIP_ERRORS, ValueError, BadZipFile) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{origin} cannot be read: {first_line(error)}") from error
