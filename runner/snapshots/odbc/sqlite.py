"""Makes sure that SQLite opens the file that was asked for, and that committed data is on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError
from runner.snapshots.odbc.strings import is_sqlite, parts

if TYPE_CHECKING:
    import pyodbc

    from runner.snapshots.odbc.connection import Connection

_DATABASE = re.compile(r"(?i)(^|;)\s*database\s*=[^;]*")
_FILES = "PRAGMA database_list"
_UNSAFE_JOURNALS = ("off", "memory")
_PATIENCE = "Timeout=25000"
"""Milliseconds that the driver waits for a file that another process has locked, up to twice in a statement. Its own default
is four times as long."""


def pinned(text: str, folder: Path) -> str:
    """Returns the connection string with an absolute path, so that it means the same file if the process changes its folder.

    It also gets a limit of the time to wait for another process, unless it has one.

    Raises:
        ConfigError: it names no file, or one that the driver cannot open.
    """
    if not is_sqlite(text):
        return text
    values = parts(text)
    path = values.get("database", "")
    if not path or path.startswith(":"):
        raise ConfigError(f"Database={path} names no file to keep snapshots in: give Database=FILE")
    if not path.isascii():
        raise ConfigError(
            f"SQLite's ODBC driver would open another file than {path!r}, since its path is not ASCII: choose another path, or"
            " name the file in odbc.ini and give DSN=NAME"
        )
    limit = "" if "timeout" in values else f";{_PATIENCE}"
    return _DATABASE.sub(lambda found: f"{found[1]}Database={folder / path}{limit}", text, count=1)


def is_missing(text: str, folder: Path) -> bool:
    """Whether a connection string names a file of SQLite that is not there: to connect would make it."""
    path = parts(text).get("database") if is_sqlite(text) else None
    return bool(path) and not (folder / str(path)).exists()


def file_of(connection: Connection) -> Path:
    """Returns the file of an open database."""
    return Path(_main_file(connection.execute(_FILES).rows))


def _main_file(rows: Iterable[Any]) -> str:
    return next((str(row[2] or "") for row in rows if row[1] == "main"), "")


def secured(connection: pyodbc.Connection, text: str, name: str, folder: Path) -> None:
    """Makes sure that a new connection keeps committed data, in the file that was asked for.

    Args:
        connection: a connection without a transaction in progress.
        text: the connection string.
        name: the database's name as the driver reports it.
        folder: where a relative path starts.

    Raises:
        ConfigError: SQLite has opened another file, or none.
    """
    opened = _main_file(connection.execute(_FILES))
    asked = (folder / (parts(text).get("database") or name)).resolve()
    if not opened or Path(opened).resolve() != asked:
        raise ConfigError(f"SQLite has opened {opened or 'no file'!r} instead of {str(asked)!r}: choose another path")
    if str(connection.execute("PRAGMA journal_mode").fetchval()).lower() in _UNSAFE_JOURNALS:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
