"""Snapshots as rows of a table in any database that has an ODBC driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from runner import passwords
from runner.errors import ConfigError, SnapshotAmbiguousError, SnapshotError, SnapshotNotFoundError, StoreAwayError, StoreError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.odbc.connection import Result, connect
from runner.snapshots.odbc.dialects import NAME_LENGTH, Table, check_table
from runner.snapshots.odbc.driver import load, shown, translated, translation
from runner.snapshots.odbc.session import Row, Session, header_from_row
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME, Location
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore

PATIENCE = 60.0
"""Seconds that a snapshot waits for a server that is away."""
IMPATIENCE = 3.0
"""The same where somebody waits for the answer."""

PROTOCOL_MARK = ".5"  # the pickle protocol is part of the name, as in VELES


class OdbcStore(Store):
    """Keeps snapshots as rows of a table with VELES's columns; a large one is spread over rows of `<table>_chunks`.

    A snapshot is written in one transaction over a connection of its own, its row in the main table last. So at a crash it is
    there whole or not at all, and writers do not see each other's halves. A name that a run has used already gets a number; the
    same snapshot (UUID) put once more is not written again, so a put whose outcome is unknown may be repeated, by several
    processes at once, too. A store is plain data without a connection: it may be pickled, and its passwords are not.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source; `${oc.env:NAME}` may stand in it.
        table: the table, made if it is not there.
        create_table: whether it may be made.

    Raises:
        ConfigError: the table's name is not an identifier.
    """

    def __init__(self, odbc: str, table: str = DEFAULT_TABLE, create_table: bool = True) -> None:
        check_table(table)
        self.odbc = passwords.conceal(odbc)
        self.table = table
        self.create_table = create_table

    def __str__(self) -> str:
        return f"table {self.table} of {shown(self.odbc)}"

    @property
    def place(self) -> str:
        return f"{SCHEME}{self.odbc}&{self.table}"

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
                refusal = session.attempt(table.create, commit=True)
                # Another run may have made it meanwhile.
                if not isinstance(error := session.attempt(table.probe), Result):
                    cause = error if isinstance(refusal, Result) else refusal
                    raise translation(cause, f"make table {self.table!r}", self.odbc) from error

    def _is_missing(self, session: Session, table: Table) -> bool:
        """Returns whether the table has to be made; raises if it is there and cannot be used."""
        if isinstance(error := session.attempt(table.probe), Result):
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

    def _columns(self, session: Session, table: Table) -> Sequence[str] | None:
        """Returns the names of a table's columns, or None if there is no such table."""
        found = session.attempt(table.select)
        if isinstance(found, Result):
            return found.columns
        error = translation(found, f"read table {self.table!r}", self.odbc)
        if type(error) is not StoreError:
            raise error from found
        return None

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        with self._session("write to", PATIENCE) as session:
            name, arrived = self._reserve(session, header)
            if not arrived:
                self._write(session, header, codec, name, members)
                self._commit(session, header, name)
        return str(Location(self.odbc, self.table, header.run_id, header.log_id, name))

    @staticmethod
    def _reserve(session: Session, header: Header) -> tuple[str, bool]:
        """Writes the header under the first name that the run has not used.

        Returns:
            The name, and whether this very snapshot is there already: an earlier try may have arrived without an answer.
        """
        text = header.to_json().encode()
        number = 1
        while True:
            name = _name(header, number)
            try:
                # Where another try is under way, the server makes this one wait for what becomes of that.
                session.connection.execute(session.sql.insert_chunk, header.run_id, name, 0, text)
                return name, False
            except load().Error:
                session.connection.rollback()
                taken = session.header_text(header.run_id, name)
                session.connection.rollback()
                if taken is None:
                    raise
                if _uuid(taken) == header.uuid:
                    return name, True
                number += 1

    @staticmethod
    def _write(session: Session, header: Header, codec: Codec, name: str, members: Iterable[Buffer]) -> None:
        data = session.write(header.run_id, name, members)
        time = datetime.fromisoformat(header.time).astimezone(UTC).replace(tzinfo=None)
        values = (header.run_id, header.log_id, header.workflow[:NAME_LENGTH], name, "" if codec.name == "none" else codec.name)
        session.connection.execute(session.sql.insert, time, *values, data)

    def _commit(self, session: Session, header: Header, name: str) -> None:
        failed = f"write to table {self.table!r}"
        try:
            with translated(failed, self.odbc):
                session.connection.commit()
                # PostgreSQL's driver calls a COMMIT a success whose connection was lost; a query on it fails then.
                if not session.dialect.embedded and session.header_text(header.run_id, name) is None:
                    raise TimeoutError("the transaction was lost")
        except StoreAwayError:
            # A connection that is lost here leaves open whether the server has committed.
            with self._session("read", PATIENCE) as again:
                taken = again.header_text(header.run_id, name)
            if taken is None or _uuid(taken) != header.uuid:
                raise

    def open(self, location: str) -> Iterator[bytes]:
        wanted = Location.parse(location)
        with self._session("read", IMPATIENCE) as session:
            if self._columns(session, session.sql.tables[0]) is None:
                raise SnapshotNotFoundError(f"there is no {self}")
            data = session.fetch(session.sql.data, wanted.id, wanted.name)
            if data is None:
                raise SnapshotNotFoundError(f"there is no snapshot {location!r}")
            yield from session.read(wanted.id, wanted.name, data)

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

    def delete(self, *locations: str) -> None:
        with self._session("delete from", IMPATIENCE) as session:
            for location in locations:
                wanted = Location.parse(location)
                session.connection.execute(session.sql.delete_chunks, wanted.id, wanted.name)
                if session.connection.execute(session.sql.delete, wanted.id, wanted.log_id, wanted.name).count < 1:
                    raise SnapshotNotFoundError(
                        f"there is no snapshot {location!r}: deleting takes the whole id, log id and name"
                    )
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

    def _location(self, row: Row) -> Location:
        return Location(self.odbc, self.table, row.id, row.log_id, row.name)

    def _select(self, session: Session, condition: str = "", values: Sequence[str] = ()) -> Sequence[Row]:
        """Returns the rows that fit, without reading their data; none if there is no table."""
        sql = session.sql
        main, chunks = sql.tables
        if self._columns(session, main) is None:
            return []
        statement = sql.list_bare if self._columns(session, chunks) is None else sql.list
        fetched = session.connection.execute(statement + condition, *values).rows
        return [Row(row[0].rstrip(), (row[1] or "").rstrip(), row[2] or "", row[3]) for row in fetched]

    @contextmanager
    def _session(self, action: str, patience: float) -> Iterator[Session]:
        with connect(self.odbc, patience) as connection, translated(f"{action} table {self.table!r}", self.odbc):
            yield Session(connection, self.table)


def _uuid(text: bytes) -> str | None:
    """Returns the UUID in a header, or None for one that cannot be read."""
    try:
        return header_from_row(text).uuid
    except SnapshotError:
        return None


def _name(header: Header, number: int) -> str:
    """Returns `<prefix>.<suffix>.5`, cut to what the column takes; from the second on with a number."""
    suffix = header.name.removeprefix(header.prefix)[1:]
    stem = f"{header.prefix}.{suffix}" if suffix else header.prefix
    end = PROTOCOL_MARK if number == 1 else f"_{number}{PROTOCOL_MARK}"
    return stem[: NAME_LENGTH - len(end)] + end
