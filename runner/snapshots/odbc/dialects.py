"""What differs between database systems, and the SQL, which is constant but for the names of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.errors import ConfigError

COLUMNS = ("timestamp", "id", "log_id", "workflow", "name", "codec", "data")
"""The columns of the table of snapshots, as in VELES."""

NAME_LENGTH = 100
"""Characters in a workflow's and in a snapshot's name."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BEGIN = 1 << 16
"""Bytes of a snapshot that are read in search of its header where the companion does not have that."""

# PostgreSQL takes 63 characters, of which `_chunks` needs 7.
_LONGEST = 56


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A row of the table.

    Attributes:
        timestamp: type of a date with time, with fractions of a second where there are any.
        blob: type of bytes of any length.
        text: type of text of any script, of at most so many characters.
        read: how bytes are selected from a column.
        begin: how the first of them are, so many.
        length: how the number of bytes in a column is selected.
        limit: how a query is ended that shall give so many rows.
        options: what the definition of a table ends with.
        setup: statement that a connection begins with.
        transactional: how a table is given transactions that has none; None where all have them.
        every_script: how a table is made to take text of any script.
        packet: query for the largest message that the server takes, in bytes; None where there is no such limit.
        portion: bytes that the driver is given at a time; None for as many as it asks for.
        embedded: whether it works in this process, without a connection that can break.
    """

    timestamp: str
    blob: str
    text: str = "varchar({})"
    read: str = "{}"
    begin: str = "SUBSTR({}, 1, {})"
    length: str = "LENGTH({})"
    limit: str = "FETCH FIRST {} ROWS ONLY"
    options: str = ""
    setup: str | None = None
    transactional: str | None = None
    every_script: str | None = None
    packet: str | None = None
    portion: int | None = None
    embedded: bool = False


STANDARD = Dialect(timestamp="timestamp", blob="blob")
"""The types of the SQL standard, for a system that is not in the table."""

_MYSQL = Dialect(
    timestamp="datetime(6)",
    blob="longblob",
    limit="LIMIT {}",
    # The server's default engine may be one without transactions.
    options=" ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    # What does not fit a column is an error, not cut.
    setup="SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION')",
    transactional="ALTER TABLE {} ENGINE=InnoDB",
    every_script="ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4",
    packet="SELECT @@max_allowed_packet",
    portion=64 << 10,  # MariaDB's asks for 256, and sends a packet for each
)

DIALECTS = {
    "MariaDB": _MYSQL,
    "MySQL": _MYSQL,
    # A server may be set to say that a transaction is durable before it is.
    "PostgreSQL": Dialect(timestamp="timestamp", blob="bytea", limit="LIMIT {}", setup="SET synchronous_commit = on"),
    "SQLite": Dialect(
        timestamp="datetime",
        blob="blob",
        # Its driver returns text for a column declared longblob, as a table of VELES may have it.
        read="CAST({} AS blob)",
        limit="LIMIT {}",
        embedded=True,
    ),
    # The rows below are from the manuals, and were not tried.
    "Microsoft SQL Server": Dialect(
        timestamp="datetime2",
        blob="varbinary(max)",
        text="nvarchar({})",  # varchar is of one code page
        begin="SUBSTRING({}, 1, {})",
        length="DATALENGTH({})",
        limit="OFFSET 0 ROWS FETCH NEXT {} ROWS ONLY",
    ),
    # Without these sizes a blob has 1 MB, and text is counted in bytes.
    "DB2": Dialect(timestamp="timestamp", blob="blob(2G)", text="varchar({} CODEUNITS32)"),
    "DuckDB": Dialect(timestamp="timestamp", blob="blob", length="OCTET_LENGTH({})", limit="LIMIT {}"),
}
"""The systems by the name that their driver gives (SQL_DBMS_NAME), or by how it begins: `DB2/LINUXX8664`."""


def dialect_of(system: str) -> Dialect:
    """Returns the row of a system by the name that its driver gives."""
    return next((dialect for name, dialect in DIALECTS.items() if system.startswith(name)), STANDARD)


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
        title: its name.
        name: as it stands in a statement.
        columns: the names that it must have.
        select: a query for its columns alone.
        create: statements that make it and its indexes.
    """

    title: str
    name: str
    columns: tuple[str, ...]
    select: str
    create: tuple[str, ...]


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

        *schema, last = table.split(".")
        main, chunks = quoted([*schema, last], "."), quoted([*schema, f"{last}_chunks"], ".")
        timestamp, run, log, workflow, name, codec, data = (quoted([column], "") for column in COLUMNS)
        number = quoted(["number"], "")
        text = dialect.text.format(NAME_LENGTH)
        self._limit = dialect.limit
        read = dialect.read.format(data)
        self.main = Table(
            title=table,
            name=main,
            columns=COLUMNS,
            select=f"SELECT * FROM {main} WHERE 1 = 0",
            create=(
                f"CREATE TABLE {main} ({timestamp} {dialect.timestamp}, {run} char(36) NOT NULL, {log} char(36),"
                f" {workflow} {text}, {name} {text} NOT NULL, {codec} varchar(10), {data} {dialect.blob},"
                f" PRIMARY KEY ({run}, {name})){dialect.options}",
                # The newest snapshot, and the newest of a workflow, are found without a look at the others.
                f"CREATE INDEX {quoted([f'{last}_time'], '')} ON {main} ({timestamp})",
                f"CREATE INDEX {quoted([f'{last}_flow'], '')} ON {main} ({workflow}, {timestamp})",
            ),
        )
        self.chunks = Table(
            title=f"{table}_chunks",
            name=chunks,
            columns=("id", "name", "number", "data"),
            select=f"SELECT * FROM {chunks} WHERE 1 = 0",
            create=(
                f"CREATE TABLE {chunks} ({run} char(36) NOT NULL, {name} {text} NOT NULL, {number} integer NOT NULL,"
                f" {data} {dialect.blob}, PRIMARY KEY ({run}, {name}, {number})){dialect.options}",
            ),
        )
        of_one = f"{run} = ? AND {name} = ?"
        with_header = f"LEFT JOIN {chunks} c ON c.{run} = m.{run} AND c.{name} = m.{name} AND c.{number} = 0"
        self.insert = (
            f"INSERT INTO {main} ({timestamp}, {run}, {log}, {workflow}, {name}, {codec}, {data}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        self.insert_chunk = f"INSERT INTO {chunks} ({run}, {name}, {number}, {data}) VALUES (?, ?, ?, ?)"
        self.row = (
            f"SELECT m.{run}, m.{log}, m.{name}, m.{workflow},"
            f" CAST(m.{timestamp} AS char(26)), {dialect.length.format(f'm.{data}')}, c.{data}"
            f" FROM {main} m {with_header} WHERE m.{run} = ? AND m.{name} = ?"
        )
        self.parts = f"SELECT COUNT(*), SUM({dialect.length.format(data)}) FROM {chunks} WHERE {of_one} AND {number} > 0"
        self.taken = (
            f"SELECT {name} FROM {main} WHERE {of_one} UNION ALL SELECT {name} FROM {chunks} WHERE {of_one} AND {number} = 0"
        )
        self.runs = f"SELECT DISTINCT {run}, {log} FROM {main} WHERE {run} LIKE ? AND {log} LIKE ?"
        self.full_run = f"SELECT DISTINCT {run}, {log} FROM {main} WHERE {run} = ? AND {log} LIKE ?"
        self._columns = {"id": run, "log_id": log, "workflow": workflow, "name": name}
        self._newest = (
            f"SELECT m.{run}, m.{log}, m.{name}, CAST(m.{timestamp} AS char(26)), {{header}} FROM"
            f" (SELECT {run}, {log}, {name}, {timestamp} FROM {main} WHERE {timestamp} <= ?{{condition}}"
            f" ORDER BY {timestamp} DESC {{limit}}) m {{join}} ORDER BY m.{timestamp} DESC"
        )
        self._header, self._with_header = f"c.{data}", with_header
        self.data = f"SELECT {read} FROM {main} WHERE {of_one}"
        self.chunk = f"SELECT {data} FROM {chunks} WHERE {of_one} AND {number} = ?"
        self.begin = f"SELECT {dialect.begin.format(read, BEGIN)} FROM {main} WHERE {of_one}"
        self.delete_chunks = f"DELETE FROM {chunks} WHERE {of_one}"
        self.delete = f"DELETE FROM {main} WHERE {run} = ? AND {log} = ? AND {name} = ?"

    def newest(self, wanted: Mapping[str, Sequence[str]], count: int, headers: bool) -> str:
        """Returns the query for so many of the newest rows up to a time.

        Args:
            wanted: the values that a column may have, for each that is given.
            count: at most how many.
            headers: whether there is the companion, which has their headers.
        """
        marks = {self._columns[column]: ", ".join("?" * len(values)) for column, values in wanted.items()}
        condition = "".join(f" AND {column} IN ({values})" for column, values in marks.items())
        header, join = (self._header, self._with_header) if headers else ("NULL", "")
        return self._newest.format(header=header, join=join, condition=condition, limit=self._limit.format(count))
