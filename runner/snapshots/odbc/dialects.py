"""What differs between database systems, and the SQL, which is constant but for the names of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from runner.errors import ConfigError

COLUMNS = ("timestamp", "id", "log_id", "workflow", "name", "codec", "data")
"""The columns of the table of snapshots, as in VELES."""

NAME_LENGTH = 100
"""Characters in a workflow's and in a snapshot's name."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# PostgreSQL takes 63 characters, of which `_chunks` needs 7.
_LONGEST = 56


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A row of the table.

    Attributes:
        timestamp: type of a date with time, with fractions of a second where there are any.
        blob: type of bytes of any length.
        read: how bytes are selected from a column.
        options: what the definition of a table ends with.
        packet: query for the largest message that the server takes, in bytes; None where there is no such limit.
        portion: bytes that the driver is given at a time; None for as many as it asks for.
        embedded: whether it works in this process, without a connection that can break.
    """

    timestamp: str
    blob: str
    read: str = "{}"
    options: str = ""
    packet: str | None = None
    portion: int | None = None
    embedded: bool = False


STANDARD = Dialect(timestamp="timestamp", blob="blob")
"""The types of the SQL standard, for a system that is not in the table."""

_MYSQL = Dialect(
    timestamp="datetime(6)",
    blob="longblob",
    options=" DEFAULT CHARSET=utf8mb4",
    packet="SELECT @@max_allowed_packet",
    portion=64 << 10,  # MariaDB's asks for 256, and sends a packet for each
)

DIALECTS = {
    "MariaDB": _MYSQL,
    "MySQL": _MYSQL,
    "PostgreSQL": Dialect(timestamp="timestamp", blob="bytea"),
    # Its driver returns text for a column declared longblob, as a table of VELES may have it.
    "SQLite": Dialect(timestamp="datetime", blob="blob", read="CAST({} AS blob)", embedded=True),
    # Untested: from the documentation.
    "Microsoft SQL Server": Dialect(timestamp="datetime2", blob="varbinary(max)"),
}
"""The systems by the name that their driver gives (SQL_DBMS_NAME)."""


def check_table(name: str) -> None:
    """Raises a ConfigError for a name that is not `[[catalog.]schema.]table` of plain identifiers."""
    parts = name.split(".")
    if len(parts) > 3 or not all(_IDENTIFIER.fullmatch(part) and len(part) <= _LONGEST for part in parts):
        raise ConfigError(
            f"snapshotter.table={name!r} is not a table name: letters, digits and _, not beginning with a digit, at most"
            f" {_LONGEST} of them (a schema may stand before it, with a dot)"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of the two tables.

    Attributes:
        columns: the names that it must have.
        select: a query for its columns alone.
        probe: needs the rights to read and to write, and writes nothing.
        create: makes it.
    """

    columns: tuple[str, ...]
    select: str
    probe: str
    create: str


class Statements:
    """The SQL for one table and its companion, `<table>_chunks`.

    A snapshot's row 0 in the companion has its header, as JSON; rows 1, 2, ... have the parts of one too large for a row.

    Args:
        table: a checked name.
        dialect: the system's types.
        quote: what the system quotes identifiers with; a space if it does not.
    """

    def __init__(self, table: str, dialect: Dialect, quote: str) -> None:
        quote = quote.strip()

        def quoted(names: Iterable[str], joint: str) -> str:
            return joint.join(f"{quote}{name}{quote}" for name in names)

        parts = table.split(".")
        main, chunks = quoted(parts, "."), quoted([*parts[:-1], f"{parts[-1]}_chunks"], ".")
        columns = [quoted([name], "") for name in COLUMNS]
        timestamp, run, log, workflow, name, codec, data = columns
        number = quoted(["number"], "")
        listed = ", ".join(columns)
        chunk_listed = ", ".join((run, name, number, data))
        self.tables = (
            Table(
                columns=COLUMNS,
                select=f"SELECT * FROM {main} WHERE 1 = 0",
                probe=f"INSERT INTO {main} ({listed}) SELECT {listed} FROM {main} WHERE 1 = 0",
                create=f"CREATE TABLE {main} ({timestamp} {dialect.timestamp}, {run} char(36) NOT NULL, {log} char(36),"
                f" {workflow} varchar({NAME_LENGTH}), {name} varchar({NAME_LENGTH}) NOT NULL, {codec} varchar(10),"
                f" {data} {dialect.blob}, PRIMARY KEY ({run}, {name})){dialect.options}",
            ),
            Table(
                columns=("id", "name", "number", "data"),
                select=f"SELECT * FROM {chunks} WHERE 1 = 0",
                probe=f"INSERT INTO {chunks} ({chunk_listed}) SELECT {chunk_listed} FROM {chunks} WHERE 1 = 0",
                create=f"CREATE TABLE {chunks} ({run} char(36) NOT NULL, {name} varchar({NAME_LENGTH}) NOT NULL,"
                f" {number} integer NOT NULL, {data} {dialect.blob}, PRIMARY KEY ({run}, {name}, {number}))"
                f"{dialect.options}",
            ),
        )
        self.insert = f"INSERT INTO {main} ({listed}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self.insert_chunk = f"INSERT INTO {chunks} ({chunk_listed}) VALUES (?, ?, ?, ?)"
        self.list = (
            f"SELECT m.{run}, m.{log}, m.{name}, c.{data} FROM {main} m LEFT JOIN {chunks} c"
            f" ON c.{run} = m.{run} AND c.{name} = m.{name} AND c.{number} = 0"
        )
        self.list_bare = f"SELECT m.{run}, m.{log}, m.{name}, NULL FROM {main} m"
        self.of_run = f" WHERE m.{run} LIKE ? AND m.{log} LIKE ?"
        self.of_name = f" AND m.{name} = ?"
        self.data = f"SELECT {dialect.read.format(data)} FROM {main} WHERE {run} = ? AND {name} = ?"
        self.chunk = f"SELECT {data} FROM {chunks} WHERE {run} = ? AND {name} = ? AND {number} = ?"
        self.delete_chunks = f"DELETE FROM {chunks} WHERE {run} = ? AND {name} = ?"
        self.delete = f"DELETE FROM {main} WHERE {run} = ? AND {log} = ? AND {name} = ?"
