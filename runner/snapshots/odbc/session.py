"""One connection to a table of snapshots: its statements, and a stream as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import xxhash

from runner.errors import SnapshotDamagedError, SnapshotMismatchError
from runner.snapshots.codecs import Buffer
from runner.snapshots.format.header import Header
from runner.snapshots.odbc.connection import Connection, Result
from runner.snapshots.odbc.dialects import Statements
from runner.snapshots.odbc.driver import load

if TYPE_CHECKING:
    import pyodbc

ROW = 4 << 20
"""Bytes in a row, where the server's packets are no smaller: snapshots of more are spread over several rows."""

_MANIFEST = b'{"veles-run chunks":'


@dataclass(frozen=True)
class Row:
    """What a row says of itself; `text` is its header as JSON, or None in a row that veles-run has not written."""

    id: str
    log_id: str
    name: str
    text: bytes | None

    @property
    def header(self) -> Header:
        """The header.

        Raises:
            SnapshotDamagedError: it cannot be read.
            SnapshotMismatchError: not of veles-run, or of a newer version of it.
        """
        if self.text is None:
            raise SnapshotMismatchError(
                "it was written by the original VELES, whose pickles hold its own classes and cannot be restored here"
            )
        return header_from_row(self.text)


def header_from_row(text: bytes) -> Header:
    """Returns the header that a row holds; raises as `Row.header` does."""
    try:
        return Header.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise SnapshotDamagedError("its header cannot be read") from error


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

    def header_text(self, run: str, name: str) -> bytes | None:
        """Returns the header of a snapshot, as JSON, or None if the run has none of that name."""
        return self.fetch(self.sql.chunk, run, name, 0)

    def row_size(self) -> int:
        """Returns how many bytes go in a row: a driver may write each byte as two characters."""
        packet = self.dialect.packet
        return ROW if packet is None else min(ROW, int(self.connection.execute(packet).rows[0][0]) // 2)

    def write(self, run: str, name: str, members: Iterable[Buffer]) -> bytes:
        """Writes what does not fit the row in the main table into others; returns what that row has to hold."""
        rows = in_rows(members, self.row_size())
        first = bytes(next(rows, b""))  # a row may be used again when the next is asked for
        second = next(rows, None)
        return first if second is None else self._write_chunks(run, name, chain((first, second), rows))

    def _write_chunks(self, run: str, name: str, rows: Iterable[bytes | bytearray]) -> bytes:
        digest, size, number = xxhash.xxh3_128(), 0, 0
        for number, row in enumerate(rows, 1):
            inserted = self.connection.start(self.sql.insert_chunk, run, name, number, row)
            digest.update(row)  # while the driver works
            size += len(row)
            inserted()
        return b'%s%d,"bytes":%d,"xxh3-128":"%s"}' % (_MANIFEST, number, size, digest.hexdigest().encode())

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
