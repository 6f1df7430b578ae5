"""Connections to databases over ODBC: opened with a time limit, tried again while the server is away, errors translated."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from runner import secrets
from runner.errors import ConfigError, RunnerError, StoreAccessError, StoreAwayError, StoreError, known

if TYPE_CHECKING:
    import pyodbc

log = logging.getLogger(__name__)

LIMIT = 15.0
"""Seconds that opening a connection may take."""

_LONGEST_PAUSE = 15.0

_DRIVER_MISSING = re.compile(r"can't open lib|no default driver|driver's SQL|specified driver could not", re.IGNORECASE)
_REFUSED = re.compile(
    r"authentication failed|access denied|permission denied|command denied|readonly database|not allowed to connect",
    re.IGNORECASE,
)
_NO_DATABASE = re.compile(
    r"unknown database|database \S+ does not exist|unable to open database|^connect failed", re.IGNORECASE
)
_AWAY = re.compile(
    r"can't connect|unknown server host|could not translate host|connection refused|timeout expired|gone away|lost connection"
    r"|server closed the connection|terminating connection|starting up|shutting down|too many connections|too many clients",
    re.IGNORECASE,
)
_AWAY_STATES = ("08", "HYT")


@contextmanager
def connect(odbc: str, patience: float, limit: float = LIMIT) -> Iterator[pyodbc.Connection]:
    """Opens a connection for the block; what is not committed in it is undone.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source; its passwords may be masked.
        patience: seconds during which it is tried again, with growing pauses, while the server is away.
        limit: seconds that one try may take.

    Raises:
        ConfigError: no driver manager, no such driver, data source or database.
        StoreAwayError: the server is still away.
        StoreAccessError: the server refuses the user.
    """
    tries = Retrying(
        retry=retry_if_exception_type(StoreAwayError),
        wait=wait_exponential(multiplier=0.25, max=_LONGEST_PAUSE),
        stop=stop_after_delay(patience),
        before_sleep=_tell,
        reraise=True,
    )
    connection = tries(_open, odbc, limit)
    try:
        yield connection
    finally:
        with suppress(load().Error):  # nothing is left to do for a connection that is lost
            connection.close()


def shown(odbc: str) -> str:
    """Returns the connection string for people."""
    try:
        return secrets.redact(secrets.reveal(odbc))
    except ConfigError:
        return odbc


@contextmanager
def translated(action: str, odbc: str) -> Iterator[None]:
    """Turns the driver's errors in the block into ours.

    Args:
        action: what is being done, for the message: `cannot <action>: ...`.
        odbc: the connection string, for the message.
    """
    try:
        yield
    except load().Error as error:
        raise translation(error, action, odbc) from error


def translation(error: pyodbc.Error, action: str, odbc: str) -> RunnerError:
    """Returns the error of ours that says what an error of the driver means, and what to do."""
    state, text = str(error.args[0]), message(error)
    failed = f"cannot {action} ({shown(odbc)}): {text}"
    if _DRIVER_MISSING.search(text) or state.startswith("IM"):
        return ConfigError(f"{failed}; {_installed()}")
    if _REFUSED.search(text) or state in ("28000", "42501"):
        return StoreAccessError(f"{failed}; check user, password and rights")
    if _NO_DATABASE.search(text):
        return ConfigError(f"{failed}; check the name of the database")
    if _AWAY.search(text) or state.startswith(_AWAY_STATES):
        return StoreAwayError(f"{failed}; check host and port, and whether the server runs")
    return StoreError(failed)


def message(error: pyodbc.Error) -> str:
    """Returns what the driver says, on one line, without the names of those that passed it on."""
    text = str(error.args[-1]).partition(" (SQL")[0]
    text = re.sub(r"^(\[[^\]]*\]\s*)+", "", text)
    return secrets.redact(" ".join(text.split())).rstrip(";")


def load() -> ModuleType:
    """Returns pyodbc.

    Raises:
        ConfigError: it or the driver manager is not here.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise ConfigError(
            f"snapshots in databases need an ODBC driver manager and pyodbc ({error}): apt install unixodbc, pip install pyodbc"
        ) from error
    pyodbc.pooling = False  # a connection lives for one operation
    module: ModuleType = pyodbc
    return module


def _open(odbc: str, limit: float) -> pyodbc.Connection:
    text = secrets.reveal(odbc)
    full = text if "=" in text else f"DSN={text}"
    with translated("connect to the database", odbc):
        return _within(limit, odbc, full)


def _within(limit: float, odbc: str, full: str) -> pyodbc.Connection:
    """Connects in a thread, since not every driver keeps to the login timeout."""
    manager = load()
    lock = threading.Lock()
    outcome: list[Any] = []
    given_up = False

    def work() -> None:
        try:
            result: Any = manager.connect(full, timeout=int(limit))
        except Exception as error:
            result = error
        with lock:
            outcome.append(result)
        if given_up and isinstance(result, manager.Connection):
            result.close()

    thread = threading.Thread(target=work, name="odbc-connect", daemon=True)
    thread.start()
    thread.join(limit)
    with lock:
        given_up = not outcome
    if given_up:
        raise StoreAwayError(f"cannot connect to the database ({shown(odbc)}): no answer in {limit:g} s; check host and port")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    connection: pyodbc.Connection = outcome[0]
    return connection


def _installed() -> str:
    manager = load()
    return f"installed drivers: {known(manager.drivers()) or 'none'}; data sources: {known(manager.dataSources()) or 'none'}"


def _tell(state: RetryCallState) -> None:
    assert state.outcome is not None
    assert state.next_action is not None
    log.warning("%s; trying again in %.1f s", state.outcome.exception(), state.next_action.sleep)
