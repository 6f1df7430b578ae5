"""Snapshots as rows in a table of any database with an ODBC driver."""

from __future__ import annotations

import heapq
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import groupby
from typing import Self, TypeVar

from runner import passwords
from runner.errors import ConfigError, SnapshotAmbiguousError, SnapshotError, SnapshotNotFoundError, StoreAwayError, StoreError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.measured import Measured
from runner.snapshots.odbc import pages, sqlite, strings
from runner.snapshots.odbc.connection import connect, folder_of
from runner.snapshots.odbc.dialects import CODE, CODE_NAME, MARK, NAME_LENGTH, check_table
from runner.snapshots.odbc.driver import load, shown, translated
from runner.snapshots.odbc.lease import Lease
from runner.snapshots.odbc.proof import Proof
from runner.snapshots.odbc.session import Content, Row, Session, content_of, header_from_row, sql_time, text_of
from runner.snapshots.odbc.table_pair import Tables
from runner.snapshots.stores.free_names import first_free
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME, Location
from runner.snapshots.stores.lock import locked
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.patience import IMPATIENCE, PATIENCE
from runner.snapshots.stores.snapshot_names import PROTOCOL_MARK
from runner.snapshots.stores.store import Entry, Store, Unreadable, code_name, ignore, selected
from runner.text import as_name

log = logging.getLogger(__name__)

T = TypeVar("T")

RUNS_AT_A_TIME = 200
"""Runs in one query: some systems accept no more than a few hundred values."""
KEPT = 1.0
"""Seconds for which a connection is kept for another page of a list."""


class OdbcStore(Store):
    """Keeps snapshots as rows in a table with VELES's columns. A large one is spread over rows of `<table>_chunks`.

    Each snapshot is written in one transaction over its own connection, and its row in the main table comes last. It counts
    once the server has confirmed, after COMMIT, that all of it is there. So after a crash it is there completely or not at all,
    and writers never see each other's partial snapshots. A name that the run has already used gets a number. A snapshot (by
    UUID) that is already there is not written again, so a put with an unknown outcome may be repeated, even by several
    processes at once. A store is plain data without a connection: it can be pickled, without its passwords.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source. It may contain `${oc.env:NAME}`.
        table: the table; created if it does not exist.
        create_table: whether it may be created.

    Raises:
        ConfigError: the table's name is not an identifier.
    """

    can_be_away = True

    def __init__(self, odbc: str, table: str = DEFAULT_TABLE, create_table: bool = True) -> None:
        check_table(table)
        self.odbc = passwords.conceal(odbc)
        self.table = table
        self._tables = Tables(self.odbc, table, create_table)

    @classmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        odbc, joint, table = place.removeprefix(SCHEME).rpartition("&")
        if not joint:
            raise ConfigError(f"{passwords.redact(place)!r} is not a table: odbc://<connection string>&<table>")
        return cls(odbc, table or DEFAULT_TABLE)

    @classmethod
    def of(cls, location: str) -> Self:
        place = Location.parse(location)
        return cls(place.odbc, place.table)

    def __str__(self) -> str:
        return str(self._tables)

    @property
    def place(self) -> str:
        return f"{SCHEME}{self.odbc}&{self.table}"

    @property
    def identity(self) -> str:
        with suppress(ConfigError):  # a reference that cannot be resolved identifies itself
            return f"{strings.identity(passwords.reveal(self.odbc), folder_of(self.odbc))};table={self.table}"
        return self.place

    def prepare(self) -> None:
        """Creates the tables if they do not exist, and proves that they keep snapshots intact.

        Raises:
            ConfigError: the table does not exist and may not be created, lacks columns, or would lose data.
            StoreAccessError: rights are missing.
        """
        with self._session("use", IMPATIENCE) as session:
            self._tables.make(session)
            Proof(session, self.odbc, self.table).run()

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        with self._session("write to", PATIENCE) as session:
            self._tables.learn_facts(session)
            name, arrived = self._reserve(session, header)
            if not arrived:
                measured = Measured(members, codec)
                content = session.write(header, codec, name, measured)
                session.write_sizes(header, name, content.stored, measured.state)
                self._commit(session, header, name, content)
        return str(Location(self.odbc, self.table, header.run_id, header.log_id, name))

    def _reserve(self, session: Session, header: Header) -> tuple[str, bool]:
        """Writes the header under a name that the run has not used.

        Returns:
            The name, and whether this very snapshot is there already: an earlier attempt may have succeeded unnoticed.
        """
        refused: tuple[str, Exception] | None = None
        while True:
            name = _name(header, first_free(lambda number: session.is_taken(header.run_id, _name(header, number)), 1))
            # Check this after finding a free name: an attempt that commits in between would have taken that name.
            if (arrived := self._arrived(session, header)) is not None:
                return arrived, True
            if refused is not None and refused[0] == name:
                raise refused[1]  # the name is still free, so that was not the reason
            # End the transaction first: if it began by reading, two writers of SQLite could wait for each other.
            session.connection.rollback()
            try:
                # If another attempt is in progress, the server makes this one wait for its outcome.
                session.write_header(header, name)
                return name, False
            except load().Error as error:
                session.connection.rollback()
                refused = name, error

    @staticmethod
    def _arrived(session: Session, header: Header) -> str | None:
        """Returns the name under which this very snapshot is in the table and complete; None if it is not."""

        def begin(until: str, count: int) -> Callable[[], Sequence[Row]]:
            return session.newest({"id": [header.run_id]}, until, count, begin=session.connection.start, headers=False)

        # A column without fractions of a second may have rounded the time up.
        for row in pages.rows(begin, sql_time(header, later=1)):
            if row.time[:19] < sql_time(header)[:19]:
                return None
            stored = session.stored(row.id, row.name)
            if stored is not None and stored.uuid == header.uuid and session.is_whole(row.id, row.name):
                return row.name
        return None

    def _commit(self, session: Session, header: Header, name: str, content: Content) -> None:
        failed = f"write to table {self.table!r}"
        try:
            with translated(failed, self.odbc):
                session.connection.commit()
                # If the connection breaks, PostgreSQL's driver reports COMMIT as a success, but the next query fails.
                self._check_written(session, header, name, content)
        except StoreAwayError as error:
            # If the connection is lost here, the server may have committed, may still do so, or never will.
            with self._session("write to", PATIENCE) as again:
                self._await_outcome(again, header, name)
                try:
                    self._check_written(again, header, name, content)
                except TimeoutError:
                    raise error from None

    @staticmethod
    def _await_outcome(session: Session, header: Header, name: str) -> None:
        """Waits for the end of another transaction that has written the header, which blocks writing it again until then."""
        with suppress(load().Error):
            session.write_header(header, name)
        session.connection.rollback()

    def _check_written(self, session: Session, header: Header, name: str, content: Content) -> None:
        """Raises an error unless the table has all that was written."""
        stored = session.stored(header.run_id, name)
        text = header.to_json().encode()
        if stored is None or stored.text not in (text, None):
            raise TimeoutError("the transaction was lost")
        if (stored.name, stored.text, stored.content) == (name, text, content):
            return
        session.connection.rollback()
        with suppress(load().Error):  # the rest of it could be mistaken for a snapshot
            self._delete(session, Location("", "", header.run_id, header.log_id, name), with_chunks=True)
            session.connection.commit()
        raise StoreError(
            f"cannot write to table {self.table!r} ({shown(self.odbc)}): after COMMIT it has {stored.content.size} of"
            f" {content.size} bytes and {stored.content.parts} of {content.parts} rows of {name!r}"
        )

    def open(self, location: str) -> Iterator[bytes]:
        wanted = Location.parse(location)
        if self._is_unmade():
            raise SnapshotNotFoundError(f"there is no {self}")
        with self._session("read", IMPATIENCE) as session:
            if self._tables.columns(session, session.sql.main) is None:
                raise SnapshotNotFoundError(f"there is no {self}")
            data = session.fetch(session.sql.data, wanted.id, wanted.name)
            if data is None:
                raise SnapshotNotFoundError(f"there is no snapshot {location!r}")
            yield from session.read(wanted.id, wanted.name, data)

    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        wanted = {} if workflow is None else {"workflow": [workflow[:NAME_LENGTH]]}
        ids = [] if runs is None else sorted(runs)
        parts = [{"id": ids[at : at + RUNS_AT_A_TIME]} for at in range(0, len(ids), RUNS_AT_A_TIME)]
        with self._kept_session("list") as current:
            each = parts if runs is not None else [{}]
            found = [self._entries(current, wanted | part, unreadable, apart_from) for part in each]
            for entry in heapq.merge(*found, key=lambda entry: entry.newest_last, reverse=True):
                if selected(entry.header, runs, workflow, apart_from):
                    yield entry

    def _entries(
        self,
        current: Callable[[], Session],
        wanted: Mapping[str, Sequence[str]],
        unreadable: Unreadable,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        """Yields the snapshots whose columns have certain values, newest first."""
        begins: dict[tuple[str, str], Header | SnapshotError] = {}  # of rows whose header is in their content alone
        there: list[Mapping[str, bool]] = []  # it is asked for with the first page

        def begin(until: str, count: int) -> Callable[[], Sequence[Row]]:
            if self._is_unmade():
                return list
            session = current()
            if not there:
                if self._tables.columns(session, session.sql.main) is None:
                    return list
                there.append(self._tables.of_headers(session))
                session.connection.rollback()
            others = sorted(apart_from)[:RUNS_AT_A_TIME]
            page = session.newest(wanted, until, count, begin=session.connection.look, apart_from=others, **there[0])
            return lambda: with_headers(page())

        def with_headers(page: Sequence[Row]) -> Sequence[Row]:
            if bare := [row for row in page if row.text is None]:
                session = current()
                begins.update({(row.id, row.name): _tried(session.header_in_content, row) for row in bare})
                session.connection.rollback()  # nobody has to wait for a list
            return page

        for _, rows in groupby(pages.rows(begin), key=lambda row: row.moment):
            entries = []
            for row in rows:
                location = str(self._location(row))
                header = begins.pop((row.id, row.name)) if row.text is None else _tried(header_from_row, content_of(row.text))
                if isinstance(header, SnapshotError):
                    unreadable(location, header)
                else:
                    entries.append(Entry(location, header, row.stored, row.codec, row.state))
            yield from sorted(entries, key=lambda entry: entry.newest_last, reverse=True)

    def delete(self, *locations: str) -> None:
        with self._session("delete from", IMPATIENCE) as session:
            with_chunks = self._tables.columns(session, session.sql.chunks) is not None
            for location in locations:
                if self._delete(session, Location.parse(location), with_chunks) < 1:
                    raise SnapshotNotFoundError(
                        f"there is no snapshot {location!r}: to delete one, give its full id, log id and name"
                    )
            session.connection.commit()

    def keep_code(self, digest: str, data: bytes) -> None:
        row = code_name(digest), CODE_NAME, CODE
        with self._session("write to", IMPATIENCE) as session, suppress(load().IntegrityError):  # another process was quicker
            if session.fetch(session.sql.chunk, *row) is None:
                session.connection.execute(session.sql.insert_chunk, *row, data)
                session.connection.commit()

    def kept_code(self, digest: str) -> bytes | None:
        if self._is_unmade():
            return None
        with self._session("read", IMPATIENCE) as session:
            if self._tables.columns(session, session.sql.chunks) is None:
                return None
            return session.fetch(session.sql.chunk, code_name(digest), CODE_NAME, CODE)

    def marks(self) -> Mapping[str, Mark]:
        if self._is_unmade():
            return {}
        with self._session("read", IMPATIENCE) as session:
            if self._tables.columns(session, session.sql.chunks) is None:
                return {}
            rows = session.connection.execute(session.sql.marks).rows
        found = (Mark.read(content_of(row[0])) for row in rows)
        return {mark.uuid: mark for mark in found if mark is not None}

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        with self._session("read", IMPATIENCE) as session:
            if self._tables.columns(session, session.sql.chunks) is None:
                return []
            return [location for location, uuid in uuids.items() if _has_mark(session, Location.parse(location), uuid)]

    def mark(self, location: str, mark: Mark) -> None:
        one = Location.parse(location)
        with self._session("write to", IMPATIENCE) as session:
            session.connection.execute(session.sql.delete_mark, one.id, one.name)
            if mark:
                session.connection.execute(session.sql.insert_chunk, one.id, one.name, MARK, mark.written())
            session.connection.commit()

    def claimed(self, run: str) -> AbstractContextManager[None]:
        with self._session("use", IMPATIENCE) as session:
            dialect = session.dialect
            file = sqlite.file_of(session.connection) if dialect.embedded else None
        if file is not None:
            return locked(file.parent / f".{run}.lock", str(self))
        return nullcontext() if dialect.lock is None else Lease(self.odbc, self.table, run, str(self))

    @staticmethod
    def _delete(session: Session, one: Location, with_chunks: bool) -> int:
        """Deletes the rows of a snapshot; returns how many were in the main table."""
        if with_chunks:
            session.connection.execute(session.sql.delete_chunks, one.id, one.name)
        return session.connection.execute(session.sql.delete, one.id, one.log_id, one.name).count

    def find(self, location: str) -> str:
        """Returns the full location of the newest matching snapshot. Ids may be abbreviated, and the name left out.

        Raises:
            SnapshotNotFoundError: none matches.
            SnapshotAmbiguousError: snapshots of several runs match.
            SnapshotMismatchError: the snapshot was not written by veles-run.
        """
        wanted = Location.parse(location)
        runs = self._runs(wanted)
        if len(runs) > 1:
            listed = ", ".join("&".join(run) for run in runs)
            raise SnapshotAmbiguousError(
                f"{wanted.id}&{wanted.log_id} matches {len(runs)} runs in {self}: {listed}; give more of the ids"
            )
        unusable: list[SnapshotError] = []
        with self._kept_session("list") as current:
            for run, log in runs:
                values = {"id": [run], "log_id": [log]} | ({"name": [wanted.name]} if wanted.name else {})
                for entry in self._entries(current, values, lambda location, error: unusable.append(error)):
                    return entry.location
        if unusable:
            raise unusable[0]
        name = f"{wanted.name!r} " if wanted.name else ""
        raise SnapshotNotFoundError(
            f"there is no snapshot {name}with id {wanted.id} and log id {wanted.log_id} in {self}:"
            " check the ids (snapshot=latest takes the newest)"
        )

    def _runs(self, wanted: Location) -> Sequence[tuple[str, str]]:
        """Returns the ids and log ids that begin like those of the location."""
        with self._session("read", IMPATIENCE) as session:
            if self._tables.columns(session, session.sql.main) is None:
                return []
            full = len(wanted.id) == len(str(uuid.UUID(int=0)))
            statement, id = (session.sql.full_run, wanted.id) if full else (session.sql.runs, f"{wanted.id}%")
            rows = session.connection.execute(statement, id, f"{wanted.log_id}%").rows
        return sorted({(text_of(row[0]), text_of(row[1])) for row in rows})

    def _location(self, row: Row) -> Location:
        return Location(self.odbc, self.table, row.id, row.log_id, row.name)

    def _is_unmade(self) -> bool:
        """Whether it is a file of SQLite that is not there, which nobody who only looks should make."""
        with suppress(ConfigError):  # it is told by what connects
            return sqlite.is_missing(passwords.reveal(self.odbc), folder_of(self.odbc))
        return False

    @contextmanager
    def _session(self, action: str, patience: float) -> Iterator[Session]:
        with connect(self.odbc, patience) as connection, translated(f"{action} table {self.table!r}", self.odbc):
            yield Session(connection, self.table)

    @contextmanager
    def _kept_session(self, action: str) -> Iterator[Callable[[], Session]]:
        """Yields what returns a session: the same as before if that is asked for soon, else a new one."""
        with ExitStack() as stack:
            session: Session | None = None
            used = 0.0

            def current() -> Session:
                nonlocal session, used
                if session is None or time.monotonic() - used > KEPT:
                    stack.close()
                    session = stack.enter_context(self._session(action, IMPATIENCE))
                used = time.monotonic()
                return session

            yield current


def _tried(read: Callable[[T], Header], what: T) -> Header | SnapshotError:
    try:
        return read(what)
    except SnapshotError as error:
        return error


def _has_mark(session: Session, one: Location, uuid: str) -> bool:
    """Whether something is written on a snapshot, and not on another one that has had its place."""
    marks = (
        Mark.read(content_of(row[0])) for row in session.connection.execute(session.sql.chunk, one.id, one.name, MARK).rows
    )
    return any(mark and mark.uuid == uuid for mark in marks)


def _name(header: Header, number: int) -> str:
    """Returns `<prefix>.<suffix>.5`, cut to the length of the column; numbers above 1 are added to it."""
    suffix = header.name.removeprefix(header.prefix)[1:]
    stem = f"{header.prefix}.{suffix}" if suffix else header.prefix
    end = PROTOCOL_MARK if number == 1 else f"_{number}{PROTOCOL_MARK}"
    return as_name(stem[: NAME_LENGTH - len(end)]) + end
