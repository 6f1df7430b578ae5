"""How a CSV file is laid out: its encoding, its delimiter, and whether its first line has names."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO

from runner.datasets.cell_numbers import is_number, parsed
from runner.datasets.files import foreign, gunzipped
from runner.datasets.texts import trimmed

DELIMITERS = "\t;|,"
"""In the order in which they are tried: the cells of a file with semicolons may have decimal commas."""

SAMPLE_LINES = 20
SAMPLE_CELLS = 200_000
"""What is looked at before a file is read."""

Row = list[str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is known of a CSV file before it is read.

    Attributes:
        delimiter: between the cells of a line.
        header: whether the first line has the names of the columns.
        first_line: the number of the line that the first row ends in.
        names: of the columns; their numbers from 0 where there is no header.
        sample: the first rows, without the header.
        complete: whether these are all rows.
        expected: how many rows there are, about.
        trailing: whether each line ends with a delimiter.
    """

    delimiter: str
    header: bool
    first_line: int
    names: list[str]
    sample: list[Row]
    complete: bool
    expected: int
    trailing: bool

    def textual(self) -> set[str]:
        """Returns the names of the columns that have text in the sample."""
        columns = zip(*self.sample, strict=True)
        return {name for name, cells in zip(self.names, columns, strict=False) if parsed(cells) is None}


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file of text, which may be compressed by gzip.

    Raises:
        ValueError: it is not UTF-8, or no text at all.
    """
    with path.open("rb") as file:
        stream: IO[bytes] = gunzipped(file) if file.peek(2)[:2] == b"\x1f\x8b" else file
        head: bytes = stream.peek(32)[:32]  # type: ignore[attr-defined]
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:2]:
            raise ValueError("it is UTF-16: save it as UTF-8")
        if head and (other := foreign(head)):
            raise ValueError(other)
        yield stream


def rows(path: Path, delimiter: str) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a CSV file, each with the number of the line that it ends in; blank lines are left out.

    Raises:
        ValueError: a row has another number of cells than the first one, a quote has no end, or a byte is not UTF-8.
    """
    try:
        for line, row in each_row(path, delimiter):
            if isinstance(row, str):
                raise ValueError(row)
            yield line, row
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({_undecodable(path)}): save it as UTF-8") from error


def each_row(path: Path, delimiter: str, errors: str = "strict") -> Iterator[tuple[int, Row | str]]:
    """Yields the rows as `rows` does; in the place of one that is damaged, what is wrong with it.

    Args:
        path: the file.
        delimiter: between the cells.
        errors: what becomes of bytes that are not UTF-8, as for `open`.
    """
    width, line = None, 0
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
        while True:
            try:
                for row in reader:
                    line = reader.line_num
                    if not row:
                        continue
                    width = width or len(row)
                    if len(row) == width:
                        yield line, row
                    else:
                        yield line, f"line {line} has {_values(len(row))}, and the first line has {width}"
                return
            except csv.Error as error:
                begun, line = line, reader.line_num
                yield line, f"the row that begins after line {begun} is not CSV: {error}"


def _undecodable(path: Path) -> str:
    """Returns where the first byte is that is not UTF-8."""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte {error.object[error.start]:#04x} in line {number}"
    return "a character is cut off at its end"


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def layout(path: Path, header: bool | None, expected: Collection[str] = (), *, damaged: bool = False) -> Layout:
    """Returns the layout of a CSV file.

    Args:
        path: the file.
        header: whether the first line has names, or None to find out.
        expected: names by which a first line is known to have names, if it has all of them.
        damaged: whether rows may be, which are passed over then.

    Raises:
        ValueError: there is nothing in it, or two columns have one name.
    """
    delimiter = _delimiter(path)
    found: list[Row] = []
    first_line, complete = 0, True
    for line, row in each_row(path, delimiter, "surrogateescape") if damaged else rows(path, delimiter):
        if isinstance(row, str):
            continue
        first_line = first_line or line
        found.append(row)
        if len(found) > SAMPLE_LINES and len(found) * len(row) > SAMPLE_CELLS:
            complete = False
            break
    if not found:
        raise ValueError("it has no rows")
    found[0] = [trimmed(cell) for cell in found[0]]
    if header is None:
        header = (bool(expected) and {*expected} <= {*found[0]}) or has_header(found)
    size = sum(len(row) + sum(map(len, row)) for row in found)
    names = found[0] if header else [str(number) for number in range(len(found[0]))]
    trailing = len(names) > 1 and all(not row[-1].strip() for row in found)
    repeated = [name for name, count in Counter(names[:-1] if trailing else names).items() if count > 1]
    if repeated:
        raise ValueError(f"it has two columns named {repeated[0]!r}" if repeated[0] else "it has two columns without a name")
    return Layout(
        delimiter=delimiter,
        header=header,
        first_line=first_line,
        names=names,
        sample=found[header:],
        complete=complete,
        expected=len(found) if complete else path.stat().st_size * len(found) // size,
        trailing=trailing,
    )


def _delimiter(path: Path) -> str:
    with opened(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        sample = list(islice((line for line in lines if line.strip()), SAMPLE_LINES))
    first = sample[0] if sample else ""
    candidates = [delimiter for delimiter in DELIMITERS if delimiter in first] or [","]
    if len(candidates) > 1:
        widths = {delimiter: _widths(sample, delimiter) for delimiter in candidates}
        for delimiter, found in widths.items():
            if len(set(found)) == 1 and found[0] > 1:
                return delimiter
        return max(reversed(candidates), key=lambda delimiter: widths[delimiter][:1])
    return candidates[0]


def _widths(lines: list[str], delimiter: str) -> list[int]:
    """Returns how many cells the rows in some lines have, up to one that is not CSV with this delimiter."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    found: list[int] = []
    with suppress(csv.Error):
        found.extend(len(row) for row in reader if row)
    return found


def has_header(found: list[Row]) -> bool:
    """Whether the first of some rows has names rather than values.

    It has if one of its cells is text above numbers, or if only the first column's name is missing, as pandas leaves it out for
    an index. It has none if a cell is a number above numbers, or a text that comes again below; 0, 1, 2, ... are names that
    pandas gives. Where nothing tells, it has.
    """
    first, *others = found
    if len(first) > 1 and first == [str(number) for number in range(len(first))]:
        return True
    if len(first) > 1 and not first[0] and all(first[1:]) and all(row[0].strip() for row in others):
        return True
    values = False
    for cell, below in zip_longest(first, zip(*others, strict=True), fillvalue=()):
        assert isinstance(cell, str)
        above_numbers = parsed(below) is not None
        if is_number(cell):
            values |= above_numbers
        elif cell and below and above_numbers:
            return True
        else:
            values |= cell != "" and cell in map(trimmed, below)
    return not values
