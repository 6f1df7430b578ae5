"""The SQL for a table of snapshots and its companion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.snapshots.odbc.dialects import BEGIN, COLUMNS, FACTS, MARK, NAME_LENGTH, PAGE, VERSIONS_LENGTH, Dialect


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


class Names:
    """Quoted names of tables, columns and indexes.

    Args:
        table: the name of the main table.
        quote: the character that quotes identifiers; a space if there is none.
    """

    def __init__(self, table: str, quote: str) -> None:
        self._quote = quote.strip()
        *schema, self._last = table.split(".")
        self.main = self.quoted([*schema, self._last], ".")
        self.chunks = self.quoted([*schema, f"{self._last}_chunks"], ".")
        self.timestamp, self.run, self.log, self.workflow, self.name, self.codec, self.data = map(self.column, COLUMNS)
        self.number = self.column("number")

    def quoted(self, names: Iterable[str], joint: str) -> str:
        """Returns names, each in quotes."""
        return joint.join(f"{self._quote}{name}{self._quote}" for name in names)

    def column(self, name: str) -> str:
        """Returns the name of a column."""
        return self.quoted([name], "")

    def index(self, suffix: str) -> str:
        """Returns the name of an index."""
        return self.quoted([f"{self._last}_{suffix}"], "")


def _main_table(title: str, names: Names, dialect: Dialect) -> Table:
    text = dialect.text.format(NAME_LENGTH)
    return Table(
        title=title,
        name=names.main,
        columns=COLUMNS,
        select=f"SELECT * FROM {names.main} WHERE 1 = 0",
        create=(
            f"CREATE TABLE {names.main} ({names.timestamp} {dialect.timestamp}, {names.run} char(36) NOT NULL,"
            f" {names.log} char(36), {names.workflow} {text}, {names.name} {text} NOT NULL, {names.codec} varchar(10),"
            f" {names.data} {dialect.blob}, PRIMARY KEY ({names.run}, {names.name})){dialect.options}",
            # These find the newest snapshot, and the newest of a workflow, without reading the others.
            f"CREATE INDEX {names.index('time')} ON {names.main} ({names.timestamp})",
            f"CREATE INDEX {names.index('flow')} ON {names.main} ({names.workflow}, {names.timestamp})",
        ),
    )


def _facts(names: Names, dialect: Dialect) -> list[str]:
    """Returns the columns of `FACTS`, as they are declared."""
    kinds = {**FACTS, "versions": dialect.text.format(VERSIONS_LENGTH)}
    return [f"{names.column(fact)} {kind}" for fact, kind in kinds.items()]


def _indexes(names: Names) -> list[str]:
    """Returns what makes the indexes that find a snapshot by its UUID, the best ones, and what people have written."""
    columns = ("uuid", "score", "number")
    return [f"CREATE INDEX {names.index(column)} ON {names.chunks} ({names.column(column)})" for column in columns]


def _companion(title: str, names: Names, dialect: Dialect) -> Table:
    text = dialect.text.format(NAME_LENGTH)
    return Table(
        title=f"{title}_chunks",
        name=names.chunks,
        columns=("id", "name", "number", "data"),
        select=f"SELECT * FROM {names.chunks} WHERE 1 = 0",
        create=(
            f"CREATE TABLE {names.chunks} ({names.run} char(36) NOT NULL, {names.name} {text} NOT NULL,"
            f" {names.number} integer NOT NULL, {names.data} {dialect.blob}, {', '.join(_facts(names, dialect))},"
            f" PRIMARY KEY ({names.run}, {names.name}, {names.number})){dialect.options}",
            *_indexes(names),
        ),
    )


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
        names = Names(table, quote)
        self.main, self.chunks = _main_table(table, names, dialect), _companion(table, names, dialect)
        # One by one: those that are there already are an error that does no harm.
        added = [f"ALTER TABLE {names.chunks} {dialect.add} {fact}" for fact in _facts(names, dialect)]
        self.widen = (*added, *_indexes(names))
        self._of_one = f"{names.run} = ? AND {names.name} = ?"
        self._set_facts(names, dialect)
        self._set_headers(names, dialect)
        self._set_snapshots(names, dialect)
        self._set_listing(names, dialect)

    def _set_facts(self, names: Names, dialect: Dialect) -> None:
        """Sets the statements for the columns of `FACTS`, which are those of row 0."""
        main, chunks, number = names.main, names.chunks, names.number
        *known, stored, state = map(names.column, FACTS)
        values = ", ".join(f"{fact} = ?" for fact in (*known, stored, state))
        header = f"{self._of_one} AND {number} = 0"
        self.insert_header = (
            f"INSERT INTO {chunks} ({names.run}, {names.name}, {number}, {names.data}, {', '.join(known)}) VALUES (?, ?, ?, ?"
            f"{', ?' * len(known)})"
        )
        self.add_sizes = f"UPDATE {chunks} SET {stored} = ?, {state} = ? WHERE {header}"
        self.change_none = f"UPDATE {chunks} SET {state} = {state} WHERE 1 = 0"
        self.describe = f"UPDATE {chunks} SET {values} WHERE {header}"
        self.undescribed = (
            f"SELECT c.{names.run}, c.{names.name}, c.{names.data}, {dialect.length.format(f'm.{names.data}')}"
            f" FROM {chunks} c JOIN {main} m ON c.{names.run} = m.{names.run} AND c.{names.name} = m.{names.name}"
            f" WHERE c.{number} = 0 AND c.{names.column('uuid')} IS NULL {dialect.limit.format(PAGE)}"
        )

    def _set_headers(self, names: Names, dialect: Dialect) -> None:
        """Sets the statements for one snapshot's row with its header, and for the ids of runs."""
        main, chunks, run, log, name = names.main, names.chunks, names.run, names.log, names.name
        self._with_header = f"LEFT JOIN {chunks} c ON c.{run} = m.{run} AND c.{name} = m.{name} AND c.{names.number} = 0"
        self.row = (
            f"SELECT m.{run}, m.{log}, m.{name}, m.{names.workflow},"
            f" CAST(m.{names.timestamp} AS char(26)), {dialect.length.format(f'm.{names.data}')}, c.{names.data}"
            f" FROM {main} m {self._with_header} WHERE m.{run} = ? AND m.{name} = ?"
        )
        self.taken = (
            f"SELECT {name} FROM {main} WHERE {self._of_one}"
            f" UNION ALL SELECT {name} FROM {chunks} WHERE {self._of_one} AND {names.number} = 0"
        )
        self.runs = f"SELECT DISTINCT {run}, {log} FROM {main} WHERE {run} LIKE ? AND {log} LIKE ?"
        self.full_run = f"SELECT DISTINCT {run}, {log} FROM {main} WHERE {run} = ? AND {log} LIKE ?"

    def _set_snapshots(self, names: Names, dialect: Dialect) -> None:
        """Sets the statements that write, read and delete contents and marks."""
        main, chunks, number, data = names.main, names.chunks, names.number, names.data
        read = dialect.read.format(data)
        self.insert = f"INSERT INTO {main} ({', '.join(map(names.column, COLUMNS))}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self.insert_chunk = f"INSERT INTO {chunks} ({names.run}, {names.name}, {number}, {data}) VALUES (?, ?, ?, ?)"
        self.parts = f"SELECT COUNT(*), SUM({dialect.length.format(data)}) FROM {chunks} WHERE {self._of_one} AND {number} > 0"
        self.data = f"SELECT {read} FROM {main} WHERE {self._of_one}"
        self.chunk = f"SELECT {data} FROM {chunks} WHERE {self._of_one} AND {number} = ?"
        self.begin = f"SELECT {dialect.begin.format(read, BEGIN)} FROM {main} WHERE {self._of_one}"
        self.marks = f"SELECT {data} FROM {chunks} WHERE {number} = {MARK}"
        self.delete_mark = f"DELETE FROM {chunks} WHERE {self._of_one} AND {number} = {MARK}"
        self.delete_chunks = f"DELETE FROM {chunks} WHERE {self._of_one}"
        self.delete = f"DELETE FROM {main} WHERE {names.run} = ? AND {names.log} = ? AND {names.name} = ?"

    def _set_listing(self, names: Names, dialect: Dialect) -> None:
        """Sets what `newest` makes its query of."""
        run, log, name, timestamp, codec = names.run, names.log, names.name, names.timestamp, names.codec
        *_, stored, state = map(names.column, FACTS)
        self._limit = dialect.limit
        self._columns = {"id": run, "log_id": log, "workflow": names.workflow, "name": name}
        self._newest = (
            f"SELECT m.{run}, m.{log}, m.{name}, CAST(m.{timestamp} AS char(26)), {{header}}, m.{codec}, {{sizes}} FROM"
            f" (SELECT {run}, {log}, {name}, {timestamp}, {codec} FROM {names.main} WHERE {timestamp} <= ?{{condition}}"
            f" ORDER BY {timestamp} DESC {{limit}}) m {{join}} ORDER BY m.{timestamp} DESC"
        )
        self._header = f"c.{names.data}"
        self._sizes = f"c.{stored}, c.{state}"

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
