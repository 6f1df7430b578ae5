"""SQLite: the file that is opened is the one that was asked for, and what is committed is on the disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import ConfigError
from runner.snapshots.odbc.strings import is_sqlite, parts

if TYPE_CHECKING:
    import pyodbc

_DATABASE = re.compile(r"(?i)(^|;)\s*database\s*=[^;]*")
_UNSAFE_JOURNALS = ("off", "memory")


def pinned(text: str, folder: Path) -> str:
    """Returns the connection string with an absolute path, so that it leads to one file wherever the process goes.

    Raises:
        ConfigError: it names no file, or one that the driver cannot open.
    """
    if not is_sqlite(text):
        return text
    path = parts(text).get("database", "")
    if not path or path.startswith(":"):
        raise ConfigError(f"Database={path} names no file, in which snapshots would be kept: give Database=FILE")
    if not path.isascii():
        raise ConfigError(
            f"SQLite's ODBC driver opens another file than {path!r}, whose name is not ASCII: choose another name, or name"
            " the file in odbc.ini and give DSN=NAME"
        )
    return _DATABASE.sub(lambda found: f"{found[1]}Database={folder / path}", text, count=1)


def secured(connection: pyodbc.Connection, text: str, name: str, folder: Path) -> None:
    """Sees to it that a new connection keeps what is committed, in the file that was asked for.

    Args:
        connection: outside of a transaction.
        text: the connection string.
        name: the database's name as the driver has it.
        folder: where a relative path begins.

    Raises:
        ConfigError: the open file is another one, or none.
    """
    opened = next((str(row[2] or "") for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    asked = (folder / (parts(text).get("database") or name)).resolve()
    if not opened or Path(opened).resolve() != asked:
        raise ConfigError(f"SQLite has opened {opened or 'no file'!r} instead of {str(asked)!r}: choose another path")
    if str(connection.execute("PRAGMA journal_mode").fetchval()).lower() in _UNSAFE_JOURNALS:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
