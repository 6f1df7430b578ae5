"""ODBC connections: retried while the server is away, and with a time limit on every call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import passwords
from runner.snapshots.odbc import sqlite
from runner.snapshots.odbc.dialects import STANDARD, Dialect, dialect_of
from runner.snapshots.odbc.driver import check_driver, load, translated
from runner.snapshots.stores.patience import tries
from runner.thread_pool import Threads, made

if TYPE_CHECKING:
    import pyodbc

OPEN_LIMIT = 15.0
"""Seconds that opening a connection may take."""
CALL_LIMIT = 300.0
"""Seconds that any other call may take. The slowest is the commit of a large snapshot, which waits for the server's disk."""


@dataclass(frozen=True)
class Result:
    """The result of a statement.

    Attributes:
        columns: the names of the columns; empty if the statement is not a query.
        rows: the rows of a query.
        count: number of rows changed.
    """

    columns: Sequence[str]
    rows: Sequence[Any]
    count: int


_idle: list[Threads] = []
"""Threads without a connection. The next connection reuses one, whose memory is warm by then."""
os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork

_dialects: dict[str, Dialect] = {}
"""The dialects of the databases that were connected to, by connection string."""

_folders: dict[str, Path] = {}
"""The current folder at the first connection, so that a relative path means the same file for the life of the process."""


def folder_of(odbc: str) -> Path:
    """Returns the folder that a relative path in a connection string starts from."""
    if odbc not in _folders:
        try:
            _folders[odbc] = Path.cwd()
        except FileNotFoundError:  # the current folder was deleted, which matters only to a relative path
            return Path()
    return _folders[odbc]


class Connection:
    """A connection whose calls always end in time, whatever the driver does.

    Not every driver respects a time limit, and none does when the network swallows its packets. So another thread makes the
    calls. A call that hangs is abandoned together with its thread, which closes the connection if it ever continues. An
    embedded database needs no such care once it is open, and waking the thread would take longer than its small calls do, so
    these are made directly.

    Attributes:
        dialect: the peculiarities of the database system.
        quote: the character that quotes identifiers; a space if there is none.
        call_limit: seconds that a call may take. Default: `CALL_LIMIT`.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source. Its passwords may be masked.
        limit: seconds that opening the connection may take.
    """

    def __init__(self, odbc: str, limit: float = OPEN_LIMIT) -> None:
        self._raw: pyodbc.Connection | None = None
        self._hangs = False
        self.call_limit: float | None = None
        self.dialect = _dialects.get(odbc, STANDARD)
        self._folder = folder_of(odbc)
        text = sqlite.pinned(passwords.reveal(odbc), self._folder)
        full = text if "=" in text else f"DSN={text}"
        with translated("connect to the database", odbc):
            self._manager = load()
            self._thread = _idle.pop() if _idle else Threads(1, "odbc", daemon=True)
            try:
                self._wait(self._start(lambda: self._open(full, int(limit))), limit)
            except BaseException:
                self.close()
                raise
        _dialects[odbc] = self.dialect

    def execute(self, statement: str, *values: object) -> Result:
        """Executes a statement."""
        return self.start(statement, *values)()

    def start(self, statement: str, *values: object) -> Callable[[], Result]:
        """Begins to execute a statement; call the returned function for the result."""
        call = self._start(lambda: self._execute(statement, values))
        return lambda: self._wait(call)

    def look(self, statement: str, *values: object) -> Callable[[], Result]:
        """Begins a query in a transaction of its own, which nobody has to wait for; call the returned function for the rows.

        An embedded database is asked only then.
        """

        def action() -> Result:
            result = self._execute(statement, values)
            self._opened.rollback()
            return result

        if self.dialect.embedded:
            return action
        call = self._start(action)
        return lambda: self._wait(call)

    def commit(self) -> None:
        """Commits the transaction."""
        self._wait(self._start(lambda: self._opened.commit()))

    def rollback(self) -> None:
        """Rolls the transaction back."""
        self._wait(self._start(lambda: self._opened.rollback()))

    def close(self) -> None:
        """Closes the connection; uncommitted changes are rolled back."""
        call = self._start(self._close)
        if not self._hangs:
            with suppress(TimeoutError):
                self._wait(call, OPEN_LIMIT)

    def _start(self, action: Callable[[], Any]) -> Future[Any]:
        return made(action) if self.dialect.embedded else self._thread.start(action)

    def _close(self) -> None:
        if self._raw is not None:
            with suppress(self._manager.Error):  # the connection is lost, and nothing is left to do
                self._raw.close()
        _idle.append(self._thread)

    @property
    def _opened(self) -> pyodbc.Connection:
        assert self._raw is not None
        return self._raw

    def _open(self, text: str, limit: int) -> None:
        pyodbc = self._manager
        self._raw = raw = pyodbc.connect(text, timeout=limit, autocommit=True)
        check_driver(str(raw.getinfo(pyodbc.SQL_DRIVER_NAME)))
        self.dialect = dialect_of(str(raw.getinfo(pyodbc.SQL_DBMS_NAME)))
        self.quote = str(raw.getinfo(pyodbc.SQL_IDENTIFIER_QUOTE_CHAR))
        if self.dialect.embedded:
            sqlite.secured(raw, text, str(raw.getinfo(pyodbc.SQL_DATABASE_NAME)), self._folder)
        if self.dialect.setup is not None:
            raw.execute(self.dialect.setup)
        if self.dialect.portion is not None:
            raw.maxwrite = self.dialect.portion
        raw.autocommit = False

    def _execute(self, statement: str, values: Sequence[object]) -> Result:
        cursor = self._opened.execute(statement, *values)
        columns = [str(column[0]) for column in cursor.description or ()]
        return Result(columns, cursor.fetchall() if columns else (), cursor.rowcount)

    def _wait(self, call: Future[Any], limit: float | None = None) -> Any:
        limit = limit or self.call_limit or CALL_LIMIT
        try:
            return call.result(limit)
        except TimeoutError:
            self._hangs = True
            raise TimeoutError(f"no answer in {limit:g} s") from None


@contextmanager
def connect(odbc: str, patience: float, limit: float = OPEN_LIMIT) -> Iterator[Connection]:
    """Opens a connection for the block; uncommitted changes are rolled back.

    Args:
        odbc: as in `Connection`.
        patience: seconds to keep trying, with growing pauses, while the server is away.
        limit: seconds that one attempt may take.

    Raises:
        ConfigError: there is no driver manager, or no such driver, data source or database.
        StoreAwayError: the server is still away.
        StoreAccessError: the server refuses the user.
    """
    connection = tries(patience)(Connection, odbc, limit)
    try:
        yield connection
    finally:
        connection.close()
