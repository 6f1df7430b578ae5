"""The differences between database systems, and the SQL, which is constant except for table names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.errors import ConfigError

COLUMNS = ("timestamp", "id", "log_id", "workflow", "name", "codec", "data")
"""The columns of the table of snapshots, as in VELES."""

FACTS = {
    "uuid": "char(36)",
    "parent": "char(36)",
    "epoch": "bigint",
    "iteration": "bigint",
    "score": "double precision",
    "complete": "smallint",
    "versions": "",
    "stored": "bigint",
    "state": "bigint",
}
"""Columns of the companion table with what is in a header, and their types, so that it can be asked for in SQL. They are filled
in the row of the header. A table from before there were any has none, unless they were added to it."""

VERSIONS_LENGTH = 500
"""Maximum length of the versions as JSON, in characters."""
PAGE = 200
"""Rows at a time in which the columns of a table are filled to which they were added."""

NAME_LENGTH = 100
"""Maximum length of a workflow's and a snapshot's name, in characters."""

CODE, CODE_NAME = -3, "code"
"""The number and the name of the row of the companion table with the code of a run."""
MARK = -2
"""The number of the row of the companion table with what is written on a snapshot."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BEGIN = 1 << 16
"""Bytes of a snapshot to read when looking for its header, if the companion table does not have it."""

# PostgreSQL allows 63 characters, of which `_chunks` needs 7.
_LONGEST = 56


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A row of the table of dialects: what is particular to a database system.

    Attributes:
        timestamp: type of a date with time, with fractions of a second if the system has them.
        blob: type of bytes of any length.
        text: type of text in any script, with a maximum number of characters.
        read: expression for the bytes in a column.
        begin: expression for the first bytes in a column, with their number.
        length: expression for the number of bytes in a column.
        limit: clause that limits the number of rows of a query.
        options: end of a CREATE TABLE statement.
        add: the words of ALTER TABLE that add a column.
        setup: first statement of a connection.
        transactional: statement that makes a table transactional; None if every table is.
        every_script: statement that lets a table hold text in any script; None if there is none.
        packet: query for the largest message that the server accepts, in bytes; None if there is no limit.
        portion: bytes to give the driver at a time; None for as many as it asks for.
        lock: query that gives the connection a lock with a number, without waiting: 1 if nobody else has it. It ends with the
            connection. None if there is no such query.
        unlock: query that gives it back.
        embedded: whether the database runs in this process, so that no connection can break.
    """

    timestamp: str
    blob: str
    text: str = "varchar({})"
    read: str = "{}"
    begin: str = "SUBSTR({}, 1, {})"
    length: str = "LENGTH({})"
    limit: str = "FETCH FIRST {} ROWS ONLY"
    options: str = ""
    add: str = "ADD COLUMN"
    setup: str | None = None
    transactional: str | None = None
    every_script: str | None = None
    packet: str | None = None
    portion: int | None = None
    lock: str | None = None
    unlock: str | None = None
    embedded: bool = False


STANDARD = Dialect(timestamp="timestamp", blob="blob")
"""The types of the SQL standard, for systems that are not in the table."""

_MYSQL = Dialect(
    timestamp="datetime(6)",
    blob="longblob",
    limit="LIMIT {}",
    # The server's default engine may lack transactions.
    options=" ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    # Makes a value that does not fit its column an error; otherwise it would be truncated.
    setup="SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION')",
    transactional="ALTER TABLE {} ENGINE=InnoDB",
    every_script="ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4",
    packet="SELECT @@max_allowed_packet",
    lock="SELECT GET_LOCK(CONCAT('veles-run ', ?), 0)",
    unlock="SELECT RELEASE_LOCK(CONCAT('veles-run ', ?))",
    portion=64 << 10,  # MariaDB's driver asks for 256 bytes at a time, and sends a packet for each
)

DIALECTS = {
    "MariaDB": _MYSQL,
    "MySQL": _MYSQL,
    # A server may be configured to report a commit before it is durable.
    "PostgreSQL": Dialect(
        timestamp="timestamp",
        blob="bytea",
        limit="LIMIT {}",
        setup="SET synchronous_commit = on",
        lock="SELECT CAST(pg_try_advisory_lock(CAST(? AS bigint)) AS integer)",
        unlock="SELECT pg_advisory_unlock(CAST(? AS bigint))",
    ),
    "SQLite": Dialect(
        timestamp="datetime",
        blob="blob",
        # The driver returns text from a column declared longblob, as in tables that VELES made.
        read="CAST({} AS blob)",
        limit="LIMIT {}",
        embedded=True,
    ),
    # The rows below follow the manuals. DuckDB's and Firebird's statements were tried in the systems themselves, without ODBC.
    "DuckDB": Dialect(
        timestamp="timestamp", blob="blob", begin="ARRAY_SLICE({}, 1, {})", length="OCTET_LENGTH({})", limit="LIMIT {}"
    ),
    "Firebird": Dialect(
        timestamp="timestamp",
        blob="blob sub_type binary",
        text="varchar({}) character set utf8",
        begin="SUBSTRING({} FROM 1 FOR {})",
        length="OCTET_LENGTH({})",
        add="ADD",
    ),
    "Microsoft SQL Server": Dialect(
        timestamp="datetime2",
        blob="varbinary(max)",
        text="nvarchar({})",  # varchar is limited to one code page
        begin="SUBSTRING({}, 1, {})",
        length="DATALENGTH({})",
        add="ADD",
        limit="OFFSET 0 ROWS FETCH NEXT {} ROWS ONLY",
    ),
    # Without explicit sizes, a blob is limited to 1 MB, and text length counts bytes.
    "DB2": Dialect(timestamp="timestamp", blob="blob(2G)", text="varchar({} CODEUNITS32)"),
}
"""The systems by the name that their driver reports (SQL_DBMS_NAME), or by its beginning, as in `DB2/LINUXX8664`."""


QUOTES = {"MariaDB": "`", "MySQL": "`"}
"""The characters that quote identifiers where it is not the standard's `"`, as drivers report them."""


def dialect_of(system: str) -> Dialect:
    """Returns the dialect of a system by the name that its driver reports."""
    return next((dialect for name, dialect in DIALECTS.items() if system.startswith(name)), STANDARD)


def check_table(name: str, key: str = "snapshotter.table") -> None:
    """Raises a ConfigError for what was typed for a key and is not `[[catalog.]schema.]table` of plain identifiers."""
    parts = name.split(".")
    if len(parts) > 3 or not all(_IDENTIFIER.fullmatch(part) and len(part) <= _LONGEST for part in parts):
        raise ConfigError(
            f"{key}={name!r} is not a table name: use letters, digits and _, do not begin with a digit, and use at"
            f" most {_LONGEST} characters (a schema and a dot may come first)"
        )
