"""Proves that the tables keep data intact: writes the rows of a snapshot, reads them back, and rolls them back."""

from __future__ import annotations

import uuid

from runner.errors import ConfigError, RunnerError, StoreAccessError, StoreAwayError
from runner.snapshots.codecs import CODECS
from runner.snapshots.format.header import Header
from runner.snapshots.odbc.dialects import NAME_LENGTH
from runner.snapshots.odbc.driver import load, message, translation
from runner.snapshots.odbc.session import Session, sql_time
from runner.snapshots.odbc.statements import Table

_TEXT = ("ß я 漢 😀 " * NAME_LENGTH)[: NAME_LENGTH - 2] + ".5"
"""The longest name, with characters of one to four bytes."""
_TIME = "2026-11-25T21:22:23.250000+00:00"
_DATA = bytes(range(256)) * 257
"""All byte values, in more than the 65,535 bytes that MySQL's type `blob` can hold."""


class Proof:
    """Writes the rows of a snapshot, reads them back, and rolls them back.

    Args:
        session: an open session without a transaction in progress.
        odbc: the connection string, for messages.
        table: the table's name, for messages.
    """

    def __init__(self, session: Session, odbc: str, table: str) -> None:
        self._session, self._odbc, self._table = session, odbc, table
        self._data = _DATA[: session.row_size()]
        run = str(uuid.uuid4())
        self._header = Header(
            name=_TEXT,
            prefix=_TEXT,
            workflow=_TEXT,
            workflow_class="",
            run_id=run,
            log_id=run,
            codec=max(CODECS, key=len),
            time=_TIME,
        )

    def run(self) -> None:
        """Runs the proof.

        Raises:
            ConfigError: something does not come back as it was written, or is still there after ROLLBACK.
            StoreAccessError: rights are missing.
        """
        session = self._session
        try:
            self._write()
            self._check()
        except load().Error as error:
            raise self._refusal(error) from error
        finally:
            session.connection.rollback()
        if left := [table for table in (session.sql.main, session.sql.chunks) if self._is_left(table)]:
            self._clean()
            raise ConfigError(self._without_transactions(left))

    def _write(self) -> None:
        session, header = self._session, self._header
        session.write_header(header, _TEXT)
        session.connection.execute(session.sql.insert_chunk, header.run_id, _TEXT, 1, self._data)
        session.write_main(header, header.codec, _TEXT, self._data)
        session.write_sizes(header, _TEXT, len(self._data), None)

    def _check(self) -> None:
        session, run = self._session, self._header.run_id
        stored = session.stored(run, _TEXT)
        if stored is None:
            raise self._altered("a written row is missing")
        for column in ("id", "log_id", "name", "workflow"):
            if getattr(stored, column) != (_TEXT if column in ("name", "workflow") else run):
                raise self._altered(f"text does not come back from column {column!r}", self._every_script())
        if stored.time[:19].replace("-", " ").replace(".", ":") != sql_time(self._header)[:19].replace("-", " "):
            raise self._altered(f"the time {sql_time(self._header)} comes back from column 'timestamp' as {stored.time!r}")
        sizes = stored.content.size, stored.content.part_size
        contents = session.fetch(session.sql.data, run, _TEXT), session.fetch(session.sql.chunk, run, _TEXT, 1)
        for table, size, content in zip((session.sql.main, session.sql.chunks), sizes, contents, strict=True):
            if size != len(self._data) or content != self._data:
                raise self._altered(
                    f"of {len(self._data)} bytes written to column 'data' of {table.name}, {size} are there,"
                    f" {'unaltered' if content == self._data else 'altered'}",
                    f"its type must be {session.dialect.blob}, and the connection string must not have driver options such as"
                    " ByteaAsLongVarBinary=0",
                )
        if stored.text != self._header.to_json().encode():
            raise self._altered("a header does not come back as it was written")

    def _altered(self, what: str, advice: str = "choose another with snapshotter.table=NAME") -> ConfigError:
        return ConfigError(f"table {self._table!r} does not keep what is written to it: {what}; {advice}")

    def _every_script(self) -> str:
        statements = self._in_all(self._session.dialect.every_script)
        return f"have it changed with {statements}" if statements else "its type must be text in any script"

    def _in_all(self, statement: str | None) -> str:
        sql = self._session.sql
        return "; ".join(statement.format(table.name) for table in (sql.main, sql.chunks)) if statement else ""

    def _refusal(self, error: Exception) -> RunnerError:
        """Translates a driver's error during the proof."""
        meant = translation(error, f"write to table {self._table!r}", self._odbc)
        if isinstance(meant, StoreAwayError | StoreAccessError | ConfigError):
            return meant
        what = message(error).partition(" DETAIL: Failing row")[0]
        statement = self._session.dialect.every_script
        advice = f" (if it is about text: {self._every_script()})" if statement else ""
        return ConfigError(
            f"table {self._table!r} does not accept a snapshot: {what}{advice}; "
            "choose another with snapshotter.table=NAME, which is then created correctly"
        )

    def _is_left(self, table: Table) -> bool:
        session, run = self._session, self._header.run_id
        if table is session.sql.main:
            return session.fetch(session.sql.data, run, _TEXT) is not None
        return session.fetch(session.sql.chunk, run, _TEXT, 1) is not None

    def _clean(self) -> None:
        session, header = self._session, self._header
        session.connection.execute(session.sql.delete_chunks, header.run_id, _TEXT)
        session.connection.execute(session.sql.delete, header.run_id, header.log_id, _TEXT)
        session.connection.commit()

    def _without_transactions(self, left: list[Table]) -> str:
        change = self._session.dialect.transactional
        statements = "; ".join(change.format(table.name) for table in left) if change else ""
        advice = (
            f"have it changed with {statements}"
            if statements
            else "remove options that turn off transactions, such as NoTXN=1, from the connection string"
        )
        return (
            f"table {self._table!r} has no transactions: rows are still there after ROLLBACK, so a snapshot could be stored"
            f" incompletely; {advice}"
        )
