"""The companion table says in columns what a header says, so that a company's own tools can ask for it."""

import gzip
import logging
import shutil
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import StoreAccessError
from runner.snapshots import codecs
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore
from tests.contract.test_stores import NONE, content, header
from tests.servers import PASSWORD, Server, Servers, connection_string, execute, query, seen_by_client
from tests.stored import HERE
from tests.workflows import stored

OLD = (
    "CREATE TABLE veles (timestamp {time}, id char(36) NOT NULL, log_id char(36), workflow varchar(100), name varchar(100)"
    " NOT NULL, codec varchar(10), data {blob}, PRIMARY KEY (id, name))",
    "CREATE TABLE veles_chunks (id char(36) NOT NULL, name varchar(100) NOT NULL, number integer NOT NULL, data {blob},"
    " PRIMARY KEY (id, name, number))",
)
TYPES = {"sqlite": ("datetime", "blob"), "mariadb": ("datetime(6)", "longblob"), "postgresql": ("timestamp", "bytea")}
ASKED = "SELECT uuid, parent, epoch, iteration, score, complete, state, stored, versions FROM veles_chunks WHERE number = 0"


def old_tables(database: Server) -> None:
    """Makes the tables that earlier versions made."""
    time, blob = TYPES[database.kind]
    options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4" if database.kind == "mariadb" else ""
    execute(database, *(statement.format(time=time, blob=blob) + options for statement in OLD))


@pytest.mark.parametrize("codec", ["gz", "none", "xz"])
def test_columns_say_what_the_header_says(database: Server, codec: str) -> None:
    store = OdbcStore(database.odbc)
    store.prepare()
    _, _, snapshotter = stored(bytes(9_000_000), store, blocking=True, compression=codec)
    snapshotter.export()
    snapshotter.export()
    newest, first = store.list()
    rows = {row[0]: row[1:] for row in query(database, ASKED)}
    assert rows[newest.header.uuid][0] == first.header.uuid
    assert rows[first.header.uuid][0] is None
    size = len(b"".join(store.open(first.location)))
    plain = len(b"".join(codecs.decode(codecs.find(codec), store.open(first.location))))
    assert rows[first.header.uuid][5:7] == (plain - 57, size)
    assert newest.header.previous is not None
    assert (first.stored, first.state) == (newest.header.previous["stored"], newest.header.previous["state"])
    assert first.codec == codec
    assert '"python"' in str(rows[first.header.uuid][7])


def test_scores_can_be_asked_for(database: Server) -> None:
    store = OdbcStore(database.odbc)
    store.prepare()
    for epoch, score in enumerate((3.5, 1.25, float("nan"), None)):
        one = header(f"run_{epoch}", epoch=epoch, score=score, complete=epoch == 3)
        store.put(one, NONE, content(one))
    found = seen_by_client(database, "SELECT epoch, score FROM veles_chunks WHERE score < 3 ORDER BY score")
    assert [(int(epoch), float(score)) for epoch, score in found] == [(1, 1.25)]
    assert seen_by_client(database, "SELECT epoch FROM veles_chunks WHERE complete = 1") == [["3"]]


def test_tables_of_earlier_versions_get_the_columns(database: Server) -> None:
    old_tables(database)
    reader = OdbcStore(database.odbc)
    writer = OdbcStore(database.odbc)
    before = [header(f"run_{number}", epoch=number, score=float(number)) for number in range(3)]
    for one in before:
        writer.put(one, NONE, content(one, bytes(5_000_000 * one.epoch)))
    assert [entry.header for entry in reader.list()] == before[::-1]
    OdbcStore(database.odbc).prepare()
    rows = {row[0]: row for row in query(database, ASKED)}
    assert {uuid: (row[2], row[4]) for uuid, row in rows.items()} == {one.uuid: (one.epoch, one.score) for one in before}
    assert {one.uuid: rows[one.uuid][7] for one in before} == {
        one.uuid: sum(map(len, content(one, bytes(5_000_000 * one.epoch)))) for one in before
    }
    after = header("run_after", epoch=9)
    store = OdbcStore(database.odbc)
    store.put(after, NONE, content(after))
    assert [entry.header for entry in store.list()] == [after, *before[::-1]]
    assert query(database, "SELECT epoch FROM veles_chunks WHERE uuid = '" + after.uuid + "'") == [(9,)]
    writer.put(header("run_more"), NONE, content(header("run_more")))  # by a process that began before


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_accounts_that_may_not_alter_tables_use_them_as_they_are(
    kind: str, servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database = servers.database(kind, tmp_path)
    old_tables(database)
    name = dict(part.split("=", 1) for part in database.odbc.split(";"))["DATABASE"]
    user = f"limited_{name}"
    if kind == "mariadb":
        rights = [f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"]
        rights += [f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO '{user}'@'127.0.0.1'"]
    else:
        rights = [f"CREATE USER {user} PASSWORD '{PASSWORD}'"]
        rights += [f"GRANT SELECT, INSERT, UPDATE, DELETE ON veles, veles_chunks TO {user}"]
    execute(database, *rights)
    driver = {"mariadb": "MySQL", "postgresql": "PostgreSQL"}[kind]
    odbc = connection_string(driver, database.port, user=user).replace("DATABASE=veles", f"DATABASE={name}")
    store = OdbcStore(odbc)
    store.prepare()
    assert "veles-snapshots ddl --upgrade" in caplog.text
    one = header("run_one")
    location = store.put(one, NONE, content(one))
    assert [entry.header for entry in store.list()] == [one]
    assert b"".join(store.open(location)) == b"".join(content(one))
    with pytest.raises(StoreAccessError):
        OdbcStore(odbc, "other").prepare()


def test_what_is_copied_is_not_decoded_without_end(tmp_path: Path, odbc_folder: Path) -> None:
    bomb, one = gzip.compress(bytes(1 << 28), 1), header("run_bomb")
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path / 'rows.db'}")
    store.prepare()
    tracemalloc.start()
    store.put(one, codecs.find("gz"), [bomb])
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_the_stored_database_of_today_is_migrated(tmp_path: Path, odbc_folder: Path) -> None:
    database = tmp_path / "rows.db"
    shutil.copy(HERE / "format2" / "rows.db", database)
    odbc = f"DRIVER={{SQLite3}};Database={database}"
    OdbcStore(odbc, create_table=False).prepare()
    with closing(sqlite3.connect(database)) as connection:
        assert len(connection.execute("PRAGMA table_info(veles_chunks)").fetchall()) == 4
    store = OdbcStore(odbc)
    (before,) = store.list()
    content_before = b"".join(store.open(before.location))
    store.prepare()
    (after,) = store.list()
    assert (after.header, after.location) == (before.header, before.location)
    assert b"".join(store.open(after.location)) == content_before
    with closing(sqlite3.connect(database)) as connection:
        ((uuid, epoch, stored_bytes),) = connection.execute("SELECT uuid, epoch, stored FROM veles_chunks WHERE number = 0")
        assert (uuid, epoch, stored_bytes) == (after.header.uuid, after.header.epoch, len(content_before))
        columns = [row[1] for row in connection.execute("PRAGMA table_info(veles)")]
        assert columns == ["timestamp", "id", "log_id", "workflow", "name", "codec", "data"]
    assert restore(after.location, trusted=["tests"]).header.uuid == after.header.uuid
