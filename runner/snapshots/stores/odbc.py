"""Snapshots as rows of a table in any database that has an ODBC driver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING

from blake3 import blake3

from runner import secrets
from runner.errors import (
    ConfigError,
    SnapshotAmbiguousError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotNotFoundError,
    StoreAwayError,
    StoreError,
)
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.header import Header
from runner.snapshots.location import DEFAULT_TABLE, Location
from runner.snapshots.store import Entry, Store, Unreadable, ignore
from runner.snapshots.stores import connection as odbc_connection
from runner.snapshots.stores.connection import connect, load, translated, translation
from runner.snapshots.stores.dialects import DIALECTS, NAME_LENGTH, STANDARD, Statements, Table, check_table

if TYPE_CHECKING:
    import pyodbc

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that a snapshot waits for a server that is away."""
IMPATIENCE = 3.0
"""The same where somebody waits for the answer."""
ROW = 4 << 20
"""Bytes in a row, where the server's packets are no smaller: snapshots of more are spread over several rows."""

PROTOCOL_MARK = ".5"  # the pickle protocol is part of the name, as in VELES
_MANIFEST = b'{"veles-run chunks":'


@dataclass(frozen=True)
class _Row:
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
        try:
            text = self.text.decode()
        except UnicodeDecodeError as error:
            raise SnapshotDamagedError("its header cannot be read") from error
        return Header.from_json(text)


class _Session:
    """A connection and the statements for it."""

    def __init__(self, connection: pyodbc.Connection, table: str) -> None:
        pyodbc = load()
        self.connection = connection
        self.system = str(connection.getinfo(pyodbc.SQL_DBMS_NAME))
        self.dialect = DIALECTS.get(self.system, STANDARD)
        self.sql = Statements(table, self.dialect, str(connection.getinfo(pyodbc.SQL_IDENTIFIER_QUOTE_CHAR)))
        self.cursor = connection.cursor()

    def count(self, statement: str, *values: str) -> int:
        """Returns the number that a query for one gives."""
        row = self.cursor.execute(statement, *values).fetchone()
        return int(row[0]) if row else 0

    def fails(self, statement: str, commit: bool = False) -> pyodbc.Error | None:
        """Executes a statement for the error that it may give, in a transaction of its own."""
        try:
            self.cursor.execute(statement)
            if commit:
                self.connection.commit()
        except load().Error as error:
            return error
        finally:
            self.connection.rollback()
        return None

    def row_size(self) -> int:
        """Returns how many bytes go in a row: a driver may write each byte as two characters."""
        packet = self.dialect.packet
        return ROW if packet is None else min(ROW, self.count(packet) // 2)


class OdbcStore(Store):
    """Keeps snapshots as rows of a table with VELES's columns; a large one is spread over rows of `<table>_chunks`.

    A snapshot is written in one transaction over a connection of its own, its row in the main table last. So at a crash it is
    there whole or not at all, and writers do not see each other's halves. A name that a run has used already gets a number. A
    store is plain data without a connection: it may be pickled, and its passwords are not.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source; `${oc.env:NAME}` may stand in it.
        table: the table, made if it is not there.
        create_table: whether it may be made.

    Raises:
        ConfigError: the table's name is not an identifier.
    """

    def __init__(self, odbc: str, table: str = DEFAULT_TABLE, create_table: bool = True) -> None:
        check_table(table)
        self.odbc = secrets.conceal(odbc)
        self.table = table
        self.create_table = create_table

    def __str__(self) -> str:
        return f"table {self.table} of {odbc_connection.shown(self.odbc)}"

    def prepare(self) -> None:
        """Makes the tables if they are not there, and checks that snapshots can be written.

        Raises:
            ConfigError: the table is not there and may not be made, or has other columns.
            StoreAccessError: rights are missing.
        """
        with self._session("use", IMPATIENCE) as session:
            missing = [table for table in session.sql.tables if self._is_missing(session, table)]
            if missing and not self.create_table:
                ddl = "".join(f"\n{table.create};" for table in missing)
                raise ConfigError(
                    f"table {self.table!r} is not there, and snapshotter.create_table=false: have it made with{ddl}"
                )
            for table in missing:
                refusal = session.fails(table.create, commit=True)
                # Another run may have made it meanwhile.
                if error := session.fails(table.probe):
                    raise translation(refusal or error, f"make table {self.table!r}", self.odbc) from error

    def _is_missing(self, session: _Session, table: Table) -> bool:
        """Returns whether the table has to be made; raises if it is there and cannot be used."""
        if (error := session.fails(table.probe)) is None:
            return False
        columns = self._columns(session, table)
        if columns is None:
            return True
        if missing := [name for name in table.columns if name not in map(str.lower, columns)]:
            raise ConfigError(
                f"table {self.table!r} has no column {', '.join(missing)} (it has {', '.join(columns)}), so it is no table of"
                " snapshots: choose another with snapshotter.table=NAME"
            )
        raise translation(error, f"write to table {self.table!r}", self.odbc) from error

    def _columns(self, session: _Session, table: Table) -> Sequence[str] | None:
        """Returns the names of a table's columns, or None if there is no such table."""
        if (error := session.fails(table.select)) is None:
            return [str(column[0]) for column in session.cursor.description]
        ours = translation(error, f"read table {self.table!r}", self.odbc)
        if type(ours) is not StoreError:
            raise ours from error
        return None

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        with self._session("write to", PATIENCE) as session:
            name = self._reserve(session, header)
            self._write(session, header, "" if codec.name == "none" else codec.name, name, members)
            self._commit(session, header.run_id, name)
        return str(Location(self.odbc, self.table, header.run_id, header.log_id, name))

    def _reserve(self, session: _Session, header: Header) -> str:
        """Writes the header under the first name that the run has not used; returns the name."""
        text, sql = header.to_json().encode(), session.sql
        for number in count(1):
            name = _name(header, number)
            try:
                session.cursor.execute(sql.insert_chunk, header.run_id, name, 0, text)
                break
            except load().Error:
                session.connection.rollback()
                if not session.count(sql.taken, header.run_id, name):
                    raise
                session.connection.rollback()
        return name

    @staticmethod
    def _write(session: _Session, header: Header, codec: str, name: str, members: Iterable[Buffer]) -> None:
        rows = _rows(members, session.row_size())
        data, second = next(rows), next(rows, None)
        if second is not None:
            data = _write_chunks(session, header.run_id, name, chain((data, second), rows))
        time = datetime.fromisoformat(header.time).astimezone(UTC).replace(tzinfo=None)
        workflow = header.workflow[:NAME_LENGTH]
        session.cursor.execute(session.sql.insert, time, header.run_id, header.log_id, workflow, name, codec, data)

    def _commit(self, session: _Session, run: str, name: str) -> None:
        try:
            session.connection.commit()
        except load().Error as error:
            # A connection that is lost here leaves open whether the server has committed.
            if not isinstance(translation(error, "commit", self.odbc), StoreAwayError) or not self._is_there(run, name):
                raise

    def _is_there(self, run: str, name: str) -> bool:
        with self._session("read", PATIENCE) as session:
            return session.count(session.sql.exists, run, name) == 1

    def open(self, location: str) -> Iterator[bytes]:
        wanted = Location.parse(location)
        with self._session("read", IMPATIENCE) as session:
            if self._columns(session, session.sql.tables[0]) is None:
                raise SnapshotNotFoundError(f"there is no {self}")
            data = _fetch(session, session.sql.data, wanted.id, wanted.name)
            if data is None:
                raise SnapshotNotFoundError(f"there is no snapshot {location!r}")
            if not data.startswith(_MANIFEST):
                yield data
                return
            manifest = json.loads(data)
            digest = blake3()
            for number in range(1, manifest["veles-run chunks"] + 1):
                chunk = _fetch(session, session.sql.chunk, wanted.id, wanted.name, number)
                if chunk is None:
                    raise SnapshotDamagedError(f"it is incomplete: part {number} of it is not there")
                digest.update(chunk)
                yield chunk
            if digest.hexdigest() != manifest["blake3"]:
                raise SnapshotDamagedError("it is damaged: its rows do not have the digest that was written with them")

    def list(self, unreadable: Unreadable = ignore) -> Iterator[Entry]:
        with self._session("list", IMPATIENCE) as session:
            rows = self._select(session)
        found = []
        for row in rows:
            location = str(self._location(row))
            try:
                found.append(Entry(location, row.header))
            except SnapshotError as error:
                unreadable(location, error)
        yield from sorted(found, key=lambda entry: entry.header.time, reverse=True)

    def delete(self, location: str) -> None:
        wanted = Location.parse(location)
        with self._session("delete from", IMPATIENCE) as session:
            session.cursor.execute(session.sql.delete_chunks, wanted.id, wanted.name)
            session.cursor.execute(session.sql.delete, wanted.id, wanted.log_id, wanted.name)
            if session.cursor.rowcount < 1:
                raise SnapshotNotFoundError(f"there is no snapshot {location!r}: deleting takes the whole id, log id and name")
            session.connection.commit()

    def find(self, wanted: Location) -> str:
        """Returns the full location of the newest snapshot that fits one with the beginnings of ids, or without a name.

        Raises:
            SnapshotNotFoundError: none fits.
            SnapshotAmbiguousError: those of several runs fit.
            SnapshotMismatchError: it is not of veles-run.
        """
        with self._session("read", IMPATIENCE) as session:
            condition = session.sql.of_run + (session.sql.of_name if wanted.name else "")
            values = [f"{wanted.id}%", f"{wanted.log_id}%", *([wanted.name] if wanted.name else [])]
            rows = self._select(session, condition, values)
        if not rows:
            name = f"{wanted.name!r} " if wanted.name else ""
            raise SnapshotNotFoundError(
                f"there is no snapshot {name}with id {wanted.id} and log id {wanted.log_id} in {self}:"
                " check the ids (snapshot=latest takes the newest)"
            )
        runs = sorted({(row.id, row.log_id) for row in rows})
        if len(runs) > 1:
            listed = ", ".join("&".join(run) for run in runs)
            raise SnapshotAmbiguousError(
                f"{wanted.id}&{wanted.log_id} fits {len(runs)} runs in {self}: {listed}; give more of it"
            )
        return str(self._location(max(rows, key=lambda row: row.header.time)))

    def _location(self, row: _Row) -> Location:
        return Location(self.odbc, self.table, row.id, row.log_id, row.name)

    def _select(self, session: _Session, condition: str = "", values: Sequence[str] = ()) -> Sequence[_Row]:
        """Returns the rows that fit, without reading their data; none if there is no table."""
        sql = session.sql
        main, chunks = sql.tables
        if self._columns(session, main) is None:
            return []
        statement = sql.list_bare if self._columns(session, chunks) is None else sql.list
        fetched = session.cursor.execute(statement + condition, *values).fetchall()
        return [_Row(row[0].rstrip(), (row[1] or "").rstrip(), row[2] or "", row[3]) for row in fetched]

    @contextmanager
    def _session(self, action: str, patience: float) -> Iterator[_Session]:
        with connect(self.odbc, patience) as connection, translated(f"{action} table {self.table!r}", self.odbc):
            yield _Session(connection, self.table)


def _fetch(session: _Session, statement: str, *key: str | int) -> bytes | None:
    row = session.cursor.execute(statement, *key).fetchone()
    return None if row is None else bytes(row[0] or b"")


def _write_chunks(session: _Session, run: str, name: str, rows: Iterable[bytearray]) -> bytearray:
    """Writes the parts of a large snapshot; returns what its row in the main table says of them."""
    digest, size, number = blake3(), 0, 0
    for number, row in enumerate(rows, 1):
        session.cursor.execute(session.sql.insert_chunk, run, name, number, row)
        digest.update(row)
        size += len(row)
    return bytearray(b'%s%d,"bytes":%d,"blake3":"%s"}' % (_MANIFEST, number, size, digest.hexdigest().encode()))


def _rows(members: Iterable[Buffer], size: int) -> Iterator[bytearray]:
    """Cuts a stream in rows of the given size; the last may be smaller, and an empty stream has one that is empty."""
    row = bytearray()
    for member in members:
        rest = memoryview(member)
        while rest:
            if len(row) == size:
                yield row
                row = bytearray()
            part = rest[: size - len(row)]
            row += part
            rest = rest[len(part) :]
    yield row


def _name(header: Header, number: int) -> str:
    """Returns `<prefix>.<suffix>.5`, cut to what the column takes; from the second on with a number."""
    suffix = header.name.removeprefix(header.prefix)[1:]
    stem = f"{header.prefix}.{suffix}" if suffix else header.prefix
    end = PROTOCOL_MARK if number == 1 else f"_{number}{PROTOCOL_MARK}"
    return stem[: NAME_LENGTH - len(end)] + end
