"""A connection to a table of snapshots: runs the statements, and maps streams to rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from runner.errors import SnapshotDamagedError, SnapshotError, SnapshotMismatchError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import read_header, verify
from runner.snapshots.odbc.connection import Connection, Result
from runner.snapshots.odbc.dialects import NAME_LENGTH, VERSIONS_LENGTH
from runner.snapshots.odbc.driver import load
from runner.snapshots.odbc.statements import Statements

if TYPE_CHECKING:
    import pyodbc

ROW = 4 << 20
"""Bytes in a row, unless the server's packet limit is lower. Larger snapshots are spread over several rows."""

_MANIFEST = b'{"veles-run chunks":'


class Row(NamedTuple):
    """A row of the main table, without its content.

    Attributes:
        id: the process that wrote the snapshot.
        log_id: the run that it belongs to.
        name: the snapshot's name.
        time: when it was taken, as text from the database, possibly without fractions of a second.
        text: its header as JSON; None if the companion table does not have it.
        codec: the name of the codec that it is encoded with.
        stored: bytes of the encoded stream; None if the table does not say it.
        state: bytes of the plain stream; None if the table does not say it.
    """

    id: str
    log_id: str
    name: str
    time: str
    text: bytes | None
    codec: str
    stored: int | None
    state: int | None

    @property
    def moment(self) -> str:
        """The part of the time that can be relied on; rows with equal values may have been written in any order.

        Drivers are known to cut times to milliseconds or to seconds.
        """
        return self.time[:23] if self.time[20:].strip("0") else self.time[:19]


@dataclass(frozen=True)
class Content:
    """How much of a snapshot is in the tables.

    Attributes:
        size: bytes in its row of the main table.
        parts: number of rows in the companion table, without the header's.
        part_size: bytes in those rows.
    """

    size: int
    parts: int = 0
    part_size: int = 0

    @property
    def stored(self) -> int:
        """Bytes of the encoded stream: a row of the main table that is not alone has only a list of the others."""
        return self.part_size or self.size


@dataclass(frozen=True)
class Stored:
    """What the database has of a snapshot: the columns of its row, the amount of its content, and its header."""

    id: str
    log_id: str
    name: str
    workflow: str
    time: str
    content: Content
    text: bytes | None

    @property
    def uuid(self) -> str | None:
        """The UUID in the header, or None if the header cannot be read."""
        try:
            return None if self.text is None else header_from_row(self.text).uuid
        except SnapshotError:
            return None


def header_from_row(text: bytes) -> Header:
    """Parses the header in a row.

    Raises:
        SnapshotDamagedError: it cannot be read.
        SnapshotMismatchError: it was written by a newer version of veles-run.
    """
    try:
        return Header.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise SnapshotDamagedError("its header cannot be read") from error


def sql_time(header: Header, later: int = 0) -> str:
    """Returns the time of a snapshot, or a few seconds later, as text that every system understands.

    Drivers would cut the fractions of a second from a value of another type.
    """
    time = datetime.fromisoformat(header.time).astimezone(UTC).replace(tzinfo=None) + timedelta(seconds=later)
    return time.isoformat(" ", timespec="microseconds")


class Session:
    """A connection and the statements for a table and its companion.

    Attributes:
        facts: whether the companion table has the columns of `FACTS`.
        sizes: whether those of the sizes may be filled in, too: an account that may only insert cannot.

    Args:
        connection: an open connection.
        table: the name of the table, already checked.
    """

    def __init__(self, connection: Connection, table: str) -> None:
        self.connection = connection
        self.dialect = connection.dialect
        self.sql = Statements(table, self.dialect, connection.quote)
        self.facts = self.sizes = False

    def attempt(self, statement: str, commit: bool = False) -> Result | pyodbc.Error:
        """Executes a statement in its own transaction; returns the result or the driver's error."""
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
        return content_of(rows[0][0]) if rows else None

    def is_taken(self, run: str, name: str) -> bool:
        """Whether the run has a snapshot of that name, or this transaction is writing one."""
        return bool(self.connection.execute(self.sql.taken, run, name, run, name).rows)

    def stored(self, run: str, name: str) -> Stored | None:
        """Returns what the database has of a snapshot; None if it has no row in the main table."""
        rows = self.connection.execute(self.sql.row, run, name).rows
        if not rows:
            return None
        *columns, size, text = rows[0]
        id, log, found, workflow, time = map(text_of, columns)
        parts, part_size = self.connection.execute(self.sql.parts, run, name).rows[0]
        content = Content(int(size or 0), int(parts), int(part_size or 0))
        return Stored(id, log, found, workflow, time, content, None if text is None else content_of(text))

    def is_whole(self, run: str, name: str) -> bool:
        """Whether the content of a snapshot is complete and undamaged."""
        try:
            verify(self.read(run, name, self.fetch(self.sql.data, run, name) or b""))
        except SnapshotDamagedError:
            return False
        return True

    def newest(
        self,
        wanted: Mapping[str, Sequence[str]],
        until: str,
        count: int,
        *,
        begin: Callable[..., Callable[[], Result]],
        headers: bool,
        sizes: bool = False,
        apart_from: Sequence[str] = (),
    ) -> Callable[[], list[Row]]:
        """Begins to fetch the newest rows up to a time, without their content; returns what returns them.

        Args:
            wanted: the values to accept, for each column to filter by.
            until: the time, as text.
            count: maximum number of rows.
            begin: of the connection, what begins the query: `start` in the transaction under way, `look` in one of its own.
            headers: whether the companion table is there, which has the headers.
            sizes: whether it has the columns of `FACTS`.
            apart_from: processes whose rows are left out.
        """
        statement = self.sql.newest(wanted, count, headers, sizes, len(apart_from))
        result = begin(statement, until, *chain.from_iterable(wanted.values()), *apart_from)
        return lambda: [
            Row(id, log, name, time, row[4], text_of(row[5]) or "none", _number(row[6]), _number(row[7]))
            for row in result().rows
            for id, log, name, time in [map(text_of, row[:4])]
        ]

    def header_in_content(self, row: Row) -> Header:
        """Returns the header of a row for which the companion table has none.

        Raises:
            SnapshotDamagedError: it cannot be read.
            SnapshotMismatchError: the row was not written by veles-run, or by a newer version of it.
        """
        begin = self.fetch(self.sql.begin, row.id, row.name) or b""
        if begin.startswith(_MANIFEST):
            raise SnapshotDamagedError(f"it is incomplete: its rows in {self.sql.chunks.name} are missing")
        try:
            return read_header([begin])
        except SnapshotDamagedError as error:
            raise SnapshotMismatchError(
                "it was written by the original VELES, whose pickles hold its own classes and cannot be restored here"
            ) from error

    def row_size(self) -> int:
        """Returns how many bytes fit in a row. A driver may send each byte as two characters."""
        packet = self.dialect.packet
        return ROW if packet is None else min(ROW, int(self.connection.execute(packet).rows[0][0]) // 2)

    def write_header(self, header: Header, name: str) -> None:
        """Writes the header, which reserves the name. The row in the main table is written last."""
        text = header.to_json().encode()
        if self.facts:
            self.connection.execute(self.sql.insert_header, header.run_id, name, 0, text, *_facts(header))
        else:
            self.connection.execute(self.sql.insert_chunk, header.run_id, name, 0, text)

    def write_sizes(self, header: Header, name: str, stored: int, state: int | None) -> None:
        """Adds the sizes, which are known last, to the row with the header; without the right to, they stay unknown."""
        if self.sizes:
            self.connection.execute(self.sql.add_sizes, stored, state, header.run_id, name)

    def describe_older(self) -> Iterator[int]:
        """Fills the columns of `FACTS` for snapshots from before; yields after each page, which is to be committed."""
        seen: set[tuple[str, str]] = set()
        while rows := self.connection.execute(self.sql.undescribed).rows:
            for row in rows:
                run, name = str(row[0]), str(row[1])
                if (run, name) in seen:
                    return  # it is not to be found under the name that it has
                seen.add((run, name))
                stored = self._stored_size(run, name, int(row[3] or 0))
                try:
                    header = header_from_row(content_of(row[2]))
                    facts = _facts(header)
                except SnapshotError:
                    facts = ("", *[None] * 6)
                self.connection.execute(self.sql.describe, *facts, stored, None, run, name)
            yield len(rows)

    def _stored_size(self, run: str, name: str, size: int) -> int:
        parts, part_size = self.connection.execute(self.sql.parts, run, name).rows[0]
        return Content(size, int(parts), int(part_size or 0)).stored

    def write(self, header: Header, codec: Codec, name: str, members: Iterable[Buffer]) -> Content:
        """Writes the rows of the companion table, if there is too much for one row, and then the row in the main table.

        Returns:
            The amount written.
        """
        rows = in_rows(members, self.row_size())
        first = bytes(next(rows, b""))  # a copy: the buffer of a row may be reused for the next one
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
            digest.update(row)  # at the same time as the driver works
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
                raise SnapshotDamagedError(f"it is incomplete: part {number} of it is missing")
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise SnapshotDamagedError("it is damaged: the digest of its rows is not the one that was written with them")


def _facts(header: Header) -> tuple[object, ...]:
    """Returns the values of `FACTS` but for the sizes."""
    versions = json.dumps(header.versions, ensure_ascii=True)
    score = header.score if header.score is not None and math.isfinite(header.score) else None
    values = (header.uuid[:36], header.parent and header.parent[:36], header.epoch, header.iteration, score)
    return *values, int(header.complete), versions if len(versions) <= VERSIONS_LENGTH else None


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))


def content_of(value: Any) -> bytes:
    """Returns the bytes in a column; of a column of text, which the proof of a table finds out, those of the text."""
    return value.encode(errors="surrogatepass") if isinstance(value, str) else bytes(value or b"")


def text_of(value: object) -> str:
    """Returns the text in a column of any type, without the trailing blanks of a fixed-length column."""
    return "" if value is None else str(value).rstrip(" ")


def in_rows(members: Iterable[Buffer], size: int) -> Iterator[bytes | bytearray]:
    """Yields a stream in rows of at most the given size.

    A member that fills more than half a row becomes a row without a copy. Larger ones are cut, and smaller ones are joined.
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
