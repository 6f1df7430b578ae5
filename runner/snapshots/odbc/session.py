"""One connection to a table of snapshots: its statements, and a stream as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import xxhash

from runner.errors import SnapshotDamagedError, SnapshotError, SnapshotMismatchError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.odbc.connection import Connection, Result
from runner.snapshots.odbc.dialects import NAME_LENGTH, Statements
from runner.snapshots.odbc.driver import load
from runner.snapshots.restoring.reader import read_header, verify

if TYPE_CHECKING:
    import pyodbc

ROW = 4 << 20
"""Bytes in a row, where the server's packets are no smaller: snapshots of more are spread over several rows."""

_MANIFEST = b'{"veles-run chunks":'


@dataclass(frozen=True)
class Row:
    """A row of the main table, without its content.

    Attributes:
        id: the process that wrote it.
        log_id: the run it belongs to.
        name: the snapshot's name.
        time: when it was taken, as text of the database, which may keep no fractions of a second.
        text: its header as JSON; None where the companion does not have it.
    """

    id: str
    log_id: str
    name: str
    time: str
    text: bytes | None

    @property
    def moment(self) -> str:
        """What is known of the time: rows of one moment may have been written in any order.

        Drivers have cut times to milliseconds, and to seconds.
        """
        return self.time[:23] if self.time[20:].strip("0") else self.time[:19]


@dataclass(frozen=True)
class Content:
    """How much of a snapshot is in the tables.

    Attributes:
        size: bytes in its row of the main table.
        parts: rows in the companion, without that of the header.
        part_size: bytes in these.
    """

    size: int
    parts: int = 0
    part_size: int = 0


@dataclass(frozen=True)
class Stored:
    """What the database says of a snapshot: the columns of its row, how much of it is there, and its header."""

    id: str
    log_id: str
    name: str
    workflow: str
    time: str
    content: Content
    text: bytes | None

    @property
    def uuid(self) -> str | None:
        """The UUID in the header, or None where that cannot be read."""
        try:
            return None if self.text is None else header_from_row(self.text).uuid
        except SnapshotError:
            return None


def header_from_row(text: bytes) -> Header:
    """Returns the header that a row holds.

    Raises:
        SnapshotDamagedError: it cannot be read.
        SnapshotMismatchError: of a newer version of veles-run.
    """
    try:
        return Header.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise SnapshotDamagedError("its header cannot be read") from error


def sql_time(header: Header, later: int = 0) -> str:
    """Returns the time of a snapshot, or so many seconds later, as every system reads it.

    Drivers cut the fractions of one that is not text.
    """
    time = datetime.fromisoformat(header.time).astimezone(UTC).replace(tzinfo=None) + timedelta(seconds=later)
    return time.isoformat(" ", timespec="microseconds")


class Session:
    """A connection and the statements for a table and its companion.

    Args:
        connection: the connection.
        table: the table; a checked name.
    """

    def __init__(self, connection: Connection, table: str) -> None:
        self.connection = connection
        self.dialect = connection.dialect
        self.sql = Statements(table, self.dialect, connection.quote)

    def attempt(self, statement: str, commit: bool = False) -> Result | pyodbc.Error:
        """Executes a statement in a transaction of its own; returns its result, or the driver's error."""
        try:
            result = self.connection.execute(statement)
            if commit:
                self.connection.commit()
        except load().Error as error:
            return error
        finally:
            self.connection.rollback()
        return result

    def fetch(self, statement: str, *key: str | int) -> bytes | None:
        """Returns the bytes that a query finds, or None if there is no such row."""
        rows = self.connection.execute(statement, *key).rows
        return bytes(rows[0][0] or b"") if rows else None

    def is_taken(self, run: str, name: str) -> bool:
        """Whether the run has a snapshot of that name, or one that is on its way in this transaction."""
        return bool(self.connection.execute(self.sql.taken, run, name, run, name).rows)

    def stored(self, run: str, name: str) -> Stored | None:
        """Returns what the database has of a snapshot; None if there is no row of it in the main table."""
        rows = self.connection.execute(self.sql.row, run, name).rows
        if not rows:
            return None
        *columns, size, text = rows[0]
        id, log, found, workflow, time = map(text_of, columns)
        parts, part_size = self.connection.execute(self.sql.parts, run, name).rows[0]
        content = Content(int(size or 0), int(parts), int(part_size or 0))
        return Stored(id, log, found, workflow, time, content, None if text is None else bytes(text))

    def is_whole(self, run: str, name: str) -> bool:
        """Whether the content of a snapshot is there and undamaged."""
        try:
            verify(self.read(run, name, self.fetch(self.sql.data, run, name) or b""))
        except SnapshotDamagedError:
            return False
        return True

    def newest(self, wanted: Mapping[str, Sequence[str]], until: str, count: int, headers: bool) -> list[Row]:
        """Returns so many of the newest rows up to a time, without their content.

        Args:
            wanted: the values that a column may have, for each that is given.
            until: a time, as text.
            count: at most how many.
            headers: whether there is the companion, which has their headers.
        """
        statement = self.sql.newest(wanted, count, headers)
        rows = self.connection.execute(statement, until, *chain.from_iterable(wanted.values())).rows
        return [Row(text_of(row[0]), text_of(row[1]), text_of(row[2]), text_of(row[3]), row[4]) for row in rows]

    def header(self, row: Row) -> Header:
        """Returns the header of a row, from its content where the companion does not have it.

        Raises:
            SnapshotDamagedError: it cannot be read.
            SnapshotMismatchError: not of veles-run, or of a newer version of it.
        """
        if row.text is not None:
            return header_from_row(bytes(row.text))
        begin = self.fetch(self.sql.begin, row.id, row.name) or b""
        if begin.startswith(_MANIFEST):
            raise SnapshotDamagedError(f"it is incomplete: its rows in {self.sql.chunks.name} are not there")
        try:
            return read_header([begin])
        except SnapshotDamagedError as error:
            raise SnapshotMismatchError(
                "it was written by the original VELES, whose pickles hold its own classes and cannot be restored here"
            ) from error

    def row_size(self) -> int:
        """Returns how many bytes go in a row: a driver may write each byte as two characters."""
        packet = self.dialect.packet
        return ROW if packet is None else min(ROW, int(self.connection.execute(packet).rows[0][0]) // 2)

    def write_header(self, header: Header, name: str) -> None:
        """Writes the header, by which the name is taken; the row in the main table is the last to be written."""
        self.connection.execute(self.sql.insert_chunk, header.run_id, name, 0, header.to_json().encode())

    def write(self, header: Header, codec: Codec, name: str, members: Iterable[Buffer]) -> Content:
        """Writes what does not fit the row in the main table into others, and then that row; returns how much there is."""
        rows = in_rows(members, self.row_size())
        first = bytes(next(rows, b""))  # a row may be used again when the next is asked for
        second = next(rows, None)
        if second is None:
            self.write_main(header, codec.name, name, first)
            return Content(len(first))
        manifest, parts, size = self._write_chunks(header.run_id, name, chain((first, second), rows))
        self.write_main(header, codec.name, name, manifest)
        return Content(len(manifest), parts, size)

    def write_main(self, header: Header, codec: str, name: str, data: bytes) -> None:
        """Writes the row in the main table."""
        values = (header.run_id, header.log_id, header.workflow[:NAME_LENGTH], name, "" if codec == "none" else codec)
        self.connection.execute(self.sql.insert, sql_time(header), *values, data)

    def _write_chunks(self, run: str, name: str, rows: Iterable[bytes | bytearray]) -> tuple[bytes, int, int]:
        digest, size, number = xxhash.xxh3_128(), 0, 0
        for number, row in enumerate(rows, 1):
            inserted = self.connection.start(self.sql.insert_chunk, run, name, number, row)
            digest.update(row)  # while the driver works
            size += len(row)
            inserted()
        manifest = b'%s%d,"bytes":%d,"xxh3-128":"%s"}' % (_MANIFEST, number, size, digest.hexdigest().encode())
        return manifest, number, size

    def read(self, run: str, name: str, data: bytes) -> Iterator[bytes]:
        """Yields the stream of a snapshot whose row in the main table holds the given data."""
        if not data.startswith(_MANIFEST):
            yield data
            return
        try:
            manifest = json.loads(data)
            last, expected = int(manifest["veles-run chunks"]), manifest["xxh3-128"]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise SnapshotDamagedError("it is damaged: the list of its rows cannot be read") from error
        digest = xxhash.xxh3_128()
        for number in range(1, last + 1):
            chunk = self.fetch(self.sql.chunk, run, name, number)
            if chunk is None:
                raise SnapshotDamagedError(f"it is incomplete: part {number} of it is not there")
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise SnapshotDamagedError("it is damaged: its rows do not have the digest that was written with them")


def text_of(value: object) -> str:
    """Returns the text in a column, whatever its type, without the blanks that fill one of fixed length."""
    return "" if value is None else str(value).rstrip(" ")


def in_rows(members: Iterable[Buffer], size: int) -> Iterator[bytes | bytearray]:
    """Yields a stream in rows of at most the given size.

    A member that fills half a row is one, as it is, without a copy, or is cut; smaller ones are put together.
    """
    pending: list[bytes] = []
    pending_size = 0
    for member in members:
        for begin in range(0, len(member), size):
            part = member if len(member) <= size else memoryview(member)[begin : begin + size]
            if pending and pending_size + len(part) > size:
                yield b"".join(pending)
                pending, pending_size = [], 0
            if pending or len(part) <= size // 2:
                pending.append(bytes(part))
                pending_size += len(part)
            else:
                yield bytes(part) if isinstance(part, memoryview) else part
    if pending:
        yield b"".join(pending)
