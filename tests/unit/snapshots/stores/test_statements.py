"""The statements for DuckDB are DuckDB's: tried in the system itself, since its ODBC driver is in no registry."""

from datetime import datetime

import duckdb

from runner.snapshots.odbc.dialects import DIALECTS
from runner.snapshots.odbc.statements import Statements

TIME = datetime(2026, 11, 26, 9, 10, 44, 856100)
RUN, LOG, UUID = "a" * 36, "b" * 36, "c" * 36
ONE = RUN, "name"
FACTS = UUID, None, 3, 4, 0.5, 1, "{}"


def test_every_statement_of_duckdb() -> None:
    sql = Statements("veles", DIALECTS["DuckDB"], '"')
    with duckdb.connect() as database:

        def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
            return database.execute(statement, values).fetchall()

        for table in (sql.main, sql.chunks):
            for statement in table.create:
                execute(statement)
            assert execute(table.select) == []
        execute(sql.insert, TIME, RUN, LOG, "flow", "name", "gz", b"\0\xffdata")
        execute(sql.insert_header, *ONE, 0, b"{}", *FACTS)
        execute(sql.insert_chunk, *ONE, 1, b"part")
        execute(sql.add_sizes, 10, 20, *ONE)
        execute(sql.describe, *FACTS, 10, 20, *ONE)
        execute(sql.change_none)
        found = (RUN, LOG, "name", "2026-11-26 09:10:44.8561")
        assert execute(sql.undescribed) == []
        assert execute(sql.row, *ONE) == [(*found[:3], "flow", found[3], 6, b"{}")]
        assert execute(sql.parts, *ONE) == [(1, 4)]
        assert execute(sql.taken, *ONE, *ONE) == [("name",)] * 2
        assert execute(sql.runs, "a%", "b%") == execute(sql.full_run, RUN, "b%") == [(RUN, LOG)]
        assert execute(sql.data, *ONE) == execute(sql.begin, *ONE) == [(b"\0\xffdata",)]
        assert execute(sql.chunk, *ONE, 1) == [(b"part",)]
        assert execute(sql.marks) == []
        assert execute(sql.newest({"workflow": ["flow"]}, 5, True, True, 1), TIME, "flow", UUID) == [
            (*found, b"{}", "gz", 10, 20)
        ]
        assert execute(sql.newest({}, 5, False, False, 0), TIME) == [(*found, None, "gz", None, None)]
        assert execute(sql.delete_mark, *ONE) == [(0,)]
        assert execute(sql.delete_chunks, *ONE) == [(2,)]
        assert execute(sql.delete, RUN, LOG, "name") == [(1,)]
