"""The differences between database systems, and the SQL, which is constant except for table names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of the two tables.

    Attributes:
        title: the name, for messages.
        name: the quoted name, for statements.
        columns: the names of the columns that it must have.
        select: a query that returns its columns and no rows.
        create: the statements that create it and its indexes.
    """

    title: str
    name: str
    columns: tuple[str, ...]
    select: str
    create: tuple[str, ...]


class Statements:
    """The SQL for one table and its companion, `<table>_chunks`.

    In the companion, row 0 of a snapshot has its header as JSON. Rows 1, 2, ... have the parts of a snapshot that is too large
    for a single row.

    Args:
        table: the name of the table, already checked.
        dialect: the system's dialect.
        quote: the character that quotes identifiers; a space if there is none.
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
                # These find the newest snapshot, and the newest of a workflow, without reading the others.
                f"CREATE INDEX {quoted([f'{last}_time'], '')} ON {main} ({timestamp})",
                f"CREATE INDEX {quoted([f'{last}_flow'], '')} ON {main} ({workflow}, {timestamp})",
            ),
        )
        kinds = {**FACTS, "versions": dialect.text.format(VERSIONS_LENGTH)}
        facts = [f"{quoted([fact], '')} {kind}" for fact, kind in kinds.items()]
        # These find a snapshot by its UUID, the best ones, and what people have written, without reading the rows.
        indexes = [
            f"CREATE INDEX {quoted([f'{last}_{column}'], '')} ON {chunks} ({quoted([column], '')})"
            for column in ("uuid", "score", "number")
        ]
        self.chunks = Table(
            title=f"{table}_chunks",
            name=chunks,
            columns=("id", "name", "number", "data"),
            select=f"SELECT * FROM {chunks} WHERE 1 = 0",
            create=(
                f"CREATE TABLE {chunks} ({run} char(36) NOT NULL, {name} {text} NOT NULL, {number} integer NOT NULL,"
                f" {data} {dialect.blob}, {', '.join(facts)}, PRIMARY KEY ({run}, {name}, {number})){dialect.options}",
                *indexes,
            ),
        )
        # One by one: those that are there already are an error that does no harm.
        self.widen = (*(f"ALTER TABLE {chunks} {dialect.add} {fact}" for fact in facts), *indexes)
        values = ", ".join(f"{quoted([fact], '')} = ?" for fact in FACTS)
        *known, stored, state = (quoted([fact], "") for fact in FACTS)
        self.insert_header = (
            f"INSERT INTO {chunks} ({run}, {name}, {number}, {data}, {', '.join(known)}) VALUES (?, ?, ?, ?"
            f"{', ?' * len(known)})"
        )
        self.add_sizes = f"UPDATE {chunks} SET {stored} = ?, {state} = ? WHERE {run} = ? AND {name} = ? AND {number} = 0"
        self.change_none = f"UPDATE {chunks} SET {state} = {state} WHERE 1 = 0"
        self.describe = f"UPDATE {chunks} SET {values} WHERE {run} = ? AND {name} = ? AND {number} = 0"
        self.undescribed = (
            f"SELECT c.{run}, c.{name}, c.{data}, {dialect.length.format(f'm.{data}')} FROM {chunks} c JOIN {main} m"
            f" ON c.{run} = m.{run} AND c.{name} = m.{name} WHERE c.{number} = 0 AND c.{quoted(['uuid'], '')} IS NULL"
            f" {dialect.limit.format(PAGE)}"
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
            f"SELECT m.{run}, m.{log}, m.{name}, CAST(m.{timestamp} AS char(26)), {{header}}, m.{codec}, {{sizes}} FROM"
            f" (SELECT {run}, {log}, {name}, {timestamp}, {codec} FROM {main} WHERE {timestamp} <= ?{{condition}}"
            f" ORDER BY {timestamp} DESC {{limit}}) m {{join}} ORDER BY m.{timestamp} DESC"
        )
        self._header, self._with_header = f"c.{data}", with_header
        self._sizes = f"c.{stored}, c.{state}"
        self.data = f"SELECT {read} FROM {main} WHERE {of_one}"
        self.chunk = f"SELECT {data} FROM {chunks} WHERE {of_one} AND {number} = ?"
        self.begin = f"SELECT {dialect.begin.format(read, BEGIN)} FROM {main} WHERE {of_one}"
        self.marks = f"SELECT {data} FROM {chunks} WHERE {number} = {MARK}"
        self.delete_mark = f"DELETE FROM {chunks} WHERE {of_one} AND {number} = {MARK}"
        self.delete_chunks = f"DELETE FROM {chunks} WHERE {of_one}"
        self.delete = f"DELETE FROM {main} WHERE {run} = ? AND {log} = ? AND {name} = ?"

    def newest(self, wanted: Mapping[str, Sequence[str]], count: int, headers: bool, sizes: bool, apart_from: int) -> str:
        """Returns a query for the newest rows up to a given time.

        Args:
            wanted: the values to accept, for each column to filter by.
            count: maximum number of rows.
            headers: whether to join the companion table, which has the headers.
            sizes: whether that table has the columns of `FACTS`.
            apart_from: number of processes whose rows are left out.
        """
        marks = {self._columns[column]: ", ".join("?" * len(values)) for column, values in wanted.items()}
        condition = "".join(f" AND {column} IN ({values})" for column, values in marks.items())
        if apart_from:
            condition += f" AND {self._columns['id']} NOT IN ({', '.join('?' * apart_from)})"
        header, join = (self._header, self._with_header) if headers else ("NULL", "")
        of_sizes = self._sizes if headers and sizes else "NULL, NULL"
        limit = self._limit.format(count)
        return self._newest.format(header=header, sizes=of_sizes, join=join, condition=condition, limit=limit)
