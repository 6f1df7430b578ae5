"""The boundary to ODBC: the driver manager, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from runner import passwords
from runner.checks import known
from runner.errors import ConfigError, RunnerError, StoreAccessError, StoreAwayError, StoreError

if TYPE_CHECKING:
    import pyodbc

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
_AWAY_HINT = "check host and port, and whether the server is running"


def load() -> ModuleType:
    """Returns pyodbc.

    Raises:
        ConfigError: pyodbc or the driver manager is not installed.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise ConfigError(
            f"snapshots in databases need an ODBC driver manager and pyodbc ({error}): apt install unixodbc, pip install pyodbc"
        ) from error
    pyodbc.pooling = False  # each operation has its own connection
    module: ModuleType = pyodbc
    return module


def check_driver(library: str) -> None:
    """Raises a ConfigError if a driver, known by the name of its library, cannot store all text."""
    if library.startswith("psqlodbca"):
        raise ConfigError(
            f"PostgreSQL's ANSI driver cannot store text in every script: use the Unicode driver, psqlodbcw.so ({_installed()})"
        )


@contextmanager
def translated(action: str, odbc: str) -> Iterator[None]:
    """Translates the driver's errors and timeouts in the block into errors of veles-run.

    Args:
        action: what the block does, for the message `cannot <action>: ...`.
        odbc: the connection string, for the message.
    """
    try:
        yield
    except load().Error as error:
        raise translation(error, action, odbc) from error
    except TimeoutError as error:
        raise StoreAwayError(f"cannot {action} ({shown(odbc)}): {error}; {_AWAY_HINT}") from error


def translation(error: pyodbc.Error, action: str, odbc: str) -> RunnerError:
    """Translates an error of the driver into one of veles-run, which says what it means and what to do."""
    state, text = str(error.args[0]), message(error)
    failed = f"cannot {action} ({shown(odbc)}): {text}"
    if _DRIVER_MISSING.search(text) or state.startswith("IM"):
        return ConfigError(f"{failed}; {_installed()}")
    if _REFUSED.search(text) or state in ("28000", "42501"):
        return StoreAccessError(f"{failed}; check user, password and rights")
    if _NO_DATABASE.search(text):
        return ConfigError(f"{failed}; check the name of the database")
    if _AWAY.search(text) or state.startswith(_AWAY_STATES):
        return StoreAwayError(f"{failed}; {_AWAY_HINT}")
    return StoreError(failed)


def message(error: pyodbc.Error) -> str:
    """Returns the driver's message on one line, without the prefixes of the layers that passed it on."""
    text = str(error.args[-1]).partition(" (SQL")[0]
    text = re.sub(r"^(\[[^\]]*\]\s*)+", "", text)
    return passwords.redact(" ".join(text.split())).rstrip(";")


def shown(odbc: str) -> str:
    """Returns the connection string for messages: resolved, with passwords masked."""
    try:
        return passwords.redact(passwords.reveal(odbc))
    except ConfigError:
        return odbc


def _installed() -> str:
    manager = load()
    return f"installed drivers: {known(manager.drivers()) or 'none'}; data sources: {known(manager.dataSources()) or 'none'}"
