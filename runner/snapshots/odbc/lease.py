"""Leases: a run that is claimed in a database, for as long as a connection is open."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import ExitStack, suppress
from types import TracebackType

from runner.errors import RunInUseError, RunnerError
from runner.snapshots.odbc.connection import Connection, connect
from runner.snapshots.odbc.driver import load, translated
from runner.snapshots.odbc.session import Session
from runner.snapshots.stores.holder import Holder, refuse

log = logging.getLogger(__name__)

LOOK = 60.0
"""Seconds after which a lease is looked after: a connection that nothing passes through may be closed by others."""
PATIENCE = 3.0
"""Seconds to wait for a server that is away."""
CALL_LIMIT = 15.0
"""Seconds that a call may take."""
NUMBER, NAME = -1, "claim"
"""Where the companion table says who has a run: no row of a snapshot has such a number."""


class Lease:
    """Claims a run by a lock of the server's, which ends with the connection that took it, however this process ends.

    A row in the companion table says who has it. Only the lock counts: a row that was left by a process that was killed stops
    nobody. A connection that breaks is opened again within a minute. If another process has claimed the run by then, this one
    is asked to stop.

    Args:
        odbc: the connection string.
        table: the table.
        run: identifies the run: 16 hexadecimal digits.
        place: the table, for messages.

    Raises:
        RunInUseError: another process has claimed it.
    """

    def __init__(self, odbc: str, table: str, run: str, place: str) -> None:
        self._odbc, self._table, self._run, self._place = odbc, table, run, place
        self._connections = ExitStack()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None

    def __enter__(self) -> None:
        if self._take():
            self._thread = threading.Thread(target=self._look_after, name="lease", daemon=True)
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        with suppress(load().Error, TimeoutError):
            self._sign(None)
            self._unlock()
        self._connections.close()

    def _take(self) -> bool:
        """Takes the lock over a new connection; returns False if this process has it by another name of the database."""
        with ExitStack() as stack:
            connection = stack.enter_context(connect(self._odbc, PATIENCE))
            connection.call_limit = CALL_LIMIT
            self._session = Session(connection, self._table)
            with translated(f"use table {self._table!r}", self._odbc):
                taken = self._locked(connection)
                with suppress(load().Error):  # a table that is not there yet, or may only be read: the lock counts all the same
                    if taken:
                        self._sign(Holder.me())
                connection.rollback()
            if not taken:
                refuse(self._holder(), self._place)
                return False
            self._connections = stack.pop_all()
        return True

    @property
    def _number(self) -> int:
        return int(self._run, 16) >> 1

    def _unlock(self) -> None:
        """Gives the lock back at once: servers may notice only later that a connection was closed."""
        assert self._session is not None
        connection = self._session.connection
        assert connection.dialect.unlock is not None
        connection.execute(connection.dialect.unlock, self._number)
        connection.commit()

    def _locked(self, connection: Connection) -> bool:
        assert connection.dialect.lock is not None
        taken = connection.execute(connection.dialect.lock, self._number).rows[0][0]
        connection.commit()  # an open transaction would keep the server from cleaning up
        return str(taken) == "1"

    def _sign(self, holder: Holder | None) -> None:
        """Writes who has the run; None takes it away."""
        assert self._session is not None
        connection, sql = self._session.connection, self._session.sql
        connection.execute(sql.delete_chunks, self._run, NAME)
        if holder is not None:
            connection.execute(sql.insert_chunk, self._run, NAME, NUMBER, holder.written())
        connection.commit()

    def _holder(self) -> Holder | None:
        assert self._session is not None
        with suppress(load().Error, TimeoutError):
            return Holder.read(self._session.fetch(self._session.sql.chunk, self._run, NAME, NUMBER))
        return None

    def _look_after(self) -> None:
        while not self._over.wait(LOOK):
            try:
                self._keep()
            except RunInUseError as error:
                log.error("The connection that claimed the run was lost, and %s; stopping", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except RunnerError as error:  # the server is away: again later
                log.debug("%s", error)

    def _keep(self) -> None:
        """Lets the connection do something; opens and claims again if it is lost."""
        assert self._session is not None
        try:
            self._session.connection.execute("SELECT 1")
            self._session.connection.rollback()
        except (load().Error, TimeoutError):
            self._connections.close()
            self._take()
