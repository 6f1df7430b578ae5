"""Tables and connections that would lose something: right, or refused before the first epoch, with one line that helps."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runner.errors import ConfigError, RunnerError, StoreError
from runner.snapshots.odbc import pages
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW
from runner.snapshots.restoring.restore import header_of
from tests.contract.test_stores import NONE, content, header
from tests.servers import Server, Servers, execute, query, seen_by_client

TYPES = {"sqlite": ("datetime", "blob"), "mariadb": ("datetime(6)", "longblob"), "postgresql": ("timestamp", "bytea")}
BYTES = bytes(range(256)) * 300
"""More than the 65,535 bytes of the smallest blob."""


def table(kind: str, companion: bool = False, options: str = "", **columns: str) -> str:
    """Returns the statement that makes one of the tables, with some columns of other types."""
    timestamp, blob = TYPES[kind]
    main = {"timestamp": timestamp, "id": "char(36)", "log_id": "char(36)", "workflow": "varchar(100)", "name": "varchar(100)"}
    parts = {"id": "char(36)", "name": "varchar(100)", "number": "integer"}
    types = (parts if companion else main | {"codec": "varchar(10)"}) | {"data": blob} | columns
    quote = "`" if kind == "mariadb" else '"'
    listed = ", ".join(f"{quote}{name}{quote} {of}" for name, of in types.items())
    return f"CREATE TABLE veles{'_chunks' if companion else ''} ({listed}){options}"


def refused(server: Server, odbc: str | None = None) -> str:
    """Returns the one line of the refusal; nothing is left in the table."""
    with pytest.raises(RunnerError) as caught:
        OdbcStore(odbc or server.odbc).prepare()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_right(server: Server, odbc: str | None = None) -> None:
    """Proves by another client that what was acknowledged is there, byte for byte."""
    store = OdbcStore(odbc or server.odbc)
    store.prepare()
    small, large = header("поиск 漢 😀_1", prefix="поиск 漢 😀", time="2026-02-03T04:05:06.123456+00:00"), header("run_large")
    for one, size in ((small, 100), (large, ROW + 1)):
        data = (BYTES * 60)[:size]
        location = store.put(one, NONE, content(one, data))
        same = b"".join(store.open(location)) == b"".join(content(one, data))
        assert same  # without a look for where megabytes differ
        assert header_of(location) == one
    hexed = "encode(data, 'hex')" if server.kind == "postgresql" else "hex(data)"
    (row,) = seen_by_client(server, f"SELECT name, timestamp, {hexed} FROM veles WHERE name NOT LIKE '%large%'")
    assert row[0] == "поиск 漢 😀.1.5"
    assert row[1] == "2026-02-03 04:05:06.123456"
    assert bytes.fromhex(row[2]) == b"".join(content(small, BYTES[:100]))
    (parts,) = seen_by_client(server, "SELECT sum(length(data)) FROM veles_chunks WHERE number > 0")
    assert parts == [str(len(b"".join(content(large, bytes(ROW + 1)))))]


BAD_TABLES: dict[str, Callable[[str], list[str]]] = {
    "workflow is short": lambda kind: [table(kind, workflow="varchar(5)")],
    "name is short": lambda kind: [table(kind, name="varchar(40)")],
    "codec is short": lambda kind: [table(kind, codec="varchar(2)")],
    "an extra column": lambda kind: [table(kind, owner="integer NOT NULL")],
    "a check": lambda kind: [table(kind, codec="varchar(10) CHECK (codec = '')")],
    "name of the companion is short": lambda kind: [table(kind), table(kind, True, name="varchar(40)")],
    "an extra column of the companion": lambda kind: [table(kind), table(kind, True, owner="integer NOT NULL")],
    "id is a number": lambda kind: [table(kind, id="integer")],
    "name is a number": lambda kind: [table(kind, name="integer")],
    "timestamp is a number": lambda kind: [table(kind, timestamp="integer")],
    "data is text": lambda kind: [table(kind, data="text")],
    "data is a number": lambda kind: [table(kind, data="integer")],
}
TYPELESS = {
    "workflow is short",
    "name is short",
    "codec is short",
    "name of the companion is short",
    "timestamp is a number",
    "data is text",
    "data is a number",
}
"""What is right in SQLite, whose columns take anything."""


@pytest.mark.parametrize("bad", BAD_TABLES)
def test_table_that_does_not_take_a_snapshot(bad: str, database: Server) -> None:
    execute(database, *BAD_TABLES[bad](database.kind))
    if database.kind == "sqlite" and bad in TYPELESS:
        is_right(database)
        return
    assert "table 'veles'" in refused(database)
    assert seen_by_client(database, "SELECT count(*) FROM veles") == [["0"]]


MARIADB_TABLES = {
    "MyISAM": (" ENGINE=MyISAM CHARSET=utf8mb4", {}, "ALTER TABLE `veles` ENGINE=InnoDB"),
    "Aria": (" ENGINE=Aria TRANSACTIONAL=1 CHARSET=utf8mb4", {}, "ALTER TABLE `veles` ENGINE=InnoDB"),
    "MEMORY": (" ENGINE=MEMORY CHARSET=utf8mb4", {"data": "varbinary(9000)"}, "table 'veles'"),
    "latin1": (" CHARSET=latin1", {}, "ALTER TABLE `veles` CONVERT TO CHARACTER SET utf8mb4"),
    "three bytes": (" CHARSET=utf8mb3", {}, "ALTER TABLE `veles` CONVERT TO CHARACTER SET utf8mb4"),
    "blob": (" CHARSET=utf8mb4", {"data": "blob"}, "table 'veles'"),
    "tinyblob": (" CHARSET=utf8mb4", {"data": "tinyblob"}, "table 'veles'"),
    "enum": (" CHARSET=utf8mb4", {"codec": "enum('gz', '')"}, "table 'veles'"),
}


@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "sql_mode=''"])
@pytest.mark.parametrize("name", MARIADB_TABLES)
def test_table_of_mariadb(name: str, lenient: bool, servers: Servers, tmp_path: Path) -> None:
    server = servers.database("mariadb", tmp_path)
    options, columns, advice = MARIADB_TABLES[name]
    execute(server, table("mariadb", options=options, **columns))
    odbc = server.odbc + (";INITSTMT=SET sql_mode=''" if lenient else "")
    assert advice in refused(server, odbc)
    assert seen_by_client(server, "SELECT count(*) FROM veles") == [["0"]]
    assert seen_by_client(server, "SELECT count(*) FROM veles_chunks") == [["0"]]
    if "ENGINE" in advice:
        execute(server, advice)
        is_right(server, odbc)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("companion", [False, True])
def test_text_in_place_of_bytes(kind: str, companion: bool, servers: Servers, tmp_path: Path) -> None:
    server = servers.database(kind, tmp_path)
    execute(server, table(kind, companion, data="text"))
    if companion:
        execute(server, table(kind))
    if kind == "sqlite" and not companion:
        is_right(server)  # a column takes what it is given there, and is asked for bytes
    else:
        assert "table 'veles'" in refused(server)


def test_server_whose_default_engine_has_no_transactions(servers: Servers, tmp_path: Path) -> None:
    server = servers.database("mariadb", tmp_path)
    is_right(server, server.odbc + ";INITSTMT=SET default_storage_engine=MyISAM")


def test_database_of_postgresql_that_is_of_one_script(servers: Servers, tmp_path: Path) -> None:
    server = servers.running("postgresql")
    execute(server, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    odbc = server.odbc.replace("DATABASE=veles", "DATABASE=latin")
    try:
        assert "table 'veles'" in refused(server, odbc)
    finally:
        execute(server, "DROP DATABASE latin WITH (FORCE)")


def test_ansi_driver(servers: Servers, tmp_path: Path) -> None:
    server = servers.database("postgresql", tmp_path)
    library = next(Path("/usr/lib").rglob("psqlodbca.so"))
    assert "use the Unicode driver" in refused(server, server.odbc.replace("{PostgreSQL}", str(library)))


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_connection_that_is_lost_in_the_middle_and_made_again_by_the_driver(kind: str, servers: Servers, tmp_path: Path):
    """The first half is undone then, and the second half must not count for the whole."""
    server = servers.database(kind, tmp_path)
    store, one = OdbcStore(server.odbc + (";AUTO_RECONNECT=1" if kind == "mariadb" else "")), header()
    store.prepare()

    def members():
        yield from content(one, bytes(2 * ROW))[:2]
        if kind == "mariadb":
            ids = query(server, "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND db = database()")
            execute(server, *(f"KILL {number}" for (number,) in ids))
        else:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            query(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        yield bytes(2 * ROW)
        yield content(one, bytes(2 * ROW))[2]

    with pytest.raises(StoreError):
        store.put(one, NONE, members())
    assert seen_by_client(server, "SELECT count(*) FROM veles") == [["0"]]


@pytest.mark.parametrize("bare", [False, True])
def test_nobody_waits_for_a_list_that_is_looked_at(bare: bool, database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads a list of several pages slowly has no transaction open, however many pages are on their way."""
    monkeypatch.setattr(pages, "LARGEST_PAGE", 4)
    monkeypatch.setattr(pages, "FIRST_PAGE", 2)
    store = OdbcStore(database.odbc)
    store.prepare()
    written = [header(f"run_{number}") for number in range(20)]
    for one in written:
        store.put(one, NONE, content(one))
    if bare:  # their headers are read from the content alone
        execute(database, "DELETE FROM veles_chunks")
    listing = store.list()
    found = [next(listing).header for _ in range(7)]
    time.sleep(0.3)
    execute(database, *LIMITS[database.kind], "ALTER TABLE veles ADD COLUMN further integer")
    found += [entry.header for entry in listing]
    assert found == written[::-1]


LIMITS = {
    "postgresql": ["SET lock_timeout = 2000"],
    "mariadb": ["SET lock_wait_timeout = 2"],
    "sqlite": ["PRAGMA busy_timeout = 2000"],
}
"""What has a statement fail that waits for another transaction."""


def test_table_copied_without_its_companion(database: Server) -> None:
    store, small, large = OdbcStore(database.odbc), header("run_small"), header("run_large")
    store.prepare()
    locations = [store.put(one, NONE, content(one, bytes(size))) for one, size in ((small, 1000), (large, 2 * ROW))]
    execute(database, "DROP TABLE veles_chunks")
    told: list[str] = []
    assert [entry.header for entry in store.list(lambda location, error: told.append(str(error)))] == [small]
    assert [("chunks" in text, "VELES" in text) for text in told] == [(True, False)]
    assert header_of(locations[0]) == small
    assert b"".join(store.open(store.find(locations[0]))) == b"".join(content(small, bytes(1000)))
    with pytest.raises(RunnerError):
        header_of(locations[1])
    store.delete(locations[0])
    store.prepare()
    again = header("run_large")
    assert header_of(store.put(again, NONE, content(again))) == again


SQLITE = ["my dír/ru ns.db", "ü.db", ":memory:", "", "file::memory:"]


@pytest.mark.parametrize("path", SQLITE)
def test_file_that_sqlite_would_not_open_as_asked(path: str, tmp_path: Path, odbc_folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my dír").mkdir()
    before = os.listdir(tmp_path)
    for odbc in (f"DRIVER={{SQLite3}};Database={path}", f"Driver=SQLite3; DATABASE = {path} ;"):
        with suppress(ConfigError):
            OdbcStore(odbc).prepare()
            assert (tmp_path / path).stat().st_size > 0
            (tmp_path / path).unlink()
        assert os.listdir(tmp_path) == before


def test_no_file_at_all(tmp_path: Path, odbc_folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="names no file"):
        OdbcStore("DRIVER={SQLite3}").prepare()
    assert os.listdir(tmp_path) == []


def test_relative_path_leads_to_one_file_wherever_the_process_goes(tmp_path: Path, odbc_folder: Path, monkeypatch) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store, one = OdbcStore("DRIVER={SQLite3};Database=a b/r&d 100%25.db"), header()
    store.prepare()
    monkeypatch.chdir(tmp_path / "elsewhere")
    location = store.put(one, NONE, content(one))
    assert os.listdir(tmp_path / "elsewhere") == []
    assert header_of(location) == one
    server = Server("sqlite", f"x=;Database={tmp_path / 'a b' / 'r&d 100%25.db'}")
    assert seen_by_client(server, "SELECT count(*) FROM veles") == [["1"]]


OPTIONS = {
    # From the drivers' manuals and sources: all that change how data are sent, converted or committed.
    "sqlite": {
        "NoTXN=1": False,
        "NoTXN=0": True,
        "JournalMode=OFF": True,
        "JournalMode=MEMORY": True,
        "JournalMode=WAL": True,
        "JournalMode=TRUNCATE": True,
        "SyncPragma=OFF": True,
        "SyncPragma=NORMAL": True,
        "StepAPI=1": True,
        "LongNames=1": True,
        "ShortNames=1": True,
        "NoWCHAR=1": True,
        "FKSupport=1": True,
        "OEMCP=1": True,
        "BigInt=1": True,
        "JDConv=1": True,
        "Timeout=1000": True,
        "ILike=1": True,
    },
    "mariadb": {
        "CHARSET=latin1": False,
        "CHARSET=utf8": False,
        "CHARSET=utf8mb4": True,
        "CHARSET=ucs2": False,
        "AUTO_RECONNECT=1": True,
        "FORWARDONLY=1": True,
        "USE_MYCNF=1": True,
        "INTERACTIVE=1": True,
        "SCHEMANOERROR=1": True,
        "OPTIONS=2": True,
        "OPTIONS=8": True,
        "OPTIONS=32": True,
        "OPTIONS=2048": True,
        "OPTIONS=2097152": True,
        "OPTIONS=67108864": True,
        "OPTION=1048576": True,
        "INITSTMT=SET sql_mode=''": True,
        "INITSTMT=SET autocommit=1": True,
        "INITSTMT=SET character_set_client=latin1": False,
        "INITSTMT=SET tx_read_only=1": False,
        "INITSTMT=SET tx_isolation='READ-UNCOMMITTED'": True,
    },
    "postgresql": {
        "ByteaAsLongVarBinary=0": False,
        "ByteaAsLongVarBinary=1": True,
        "UseServerSidePrepare=0": True,
        "UseServerSidePrepare=1": True,
        "UseDeclareFetch=1": True,
        "UseDeclareFetch=1;Fetch=1": True,
        "Protocol=7.4-0": True,
        "Protocol=7.4-1": True,
        "Protocol=7.4-2": True,
        "ReadOnly=1": False,
        "LFConversion=1": True,
        "Parse=1": True,
        "TextAsLongVarchar=0": True,
        "UnknownsAsLongVarchar=1": True,
        "MaxVarcharSize=10": True,
        "MaxLongVarcharSize=100": True,
        "UnknownSizes=1": True,
        "UnknownSizes=2": True,
        "BoolsAsChar=0": True,
        "RowVersioning=1": True,
        "ShowOidColumn=1": True,
        "UpdatableCursors=1": True,
        "TrueIsMinus1=1": True,
        "LowerCaseIdentifier=1": True,
        "NumericAs=12": True,
        "IgnoreTimeout=1": True,
        "FetchRefcursors=1": True,
        "BI=12": True,
        "CancelAsFreeStmt=1": True,
        "ConnSettings={SET synchronous_commit=off}": True,
        "ConnSettings={SET standard_conforming_strings=off}": True,
        "ConnSettings={SET bytea_output=escape}": True,
        "ConnSettings={SET client_encoding=LATIN1}": True,
        "ConnSettings={SET default_transaction_read_only=on}": False,
        "ConnSettings={SET DateStyle=German}": False,
        "pqopt={options='-c synchronous_commit=off'}": True,
    },
}


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, options in OPTIONS.items() for option in options])
def test_option_of_a_driver_is_right_or_refused(kind: str, option: str, servers: Servers, tmp_path: Path) -> None:
    server = servers.database(kind, tmp_path)
    odbc = f"{server.odbc};{option}"
    if OPTIONS[kind][option]:
        is_right(server, odbc)
    else:
        refused(server, odbc)


def test_servers_end_with_the_process_that_started_them() -> None:
    lines = [
        "import os, signal; from contextlib import ExitStack; from tests.servers import *",
        "with ExitStack() as stack:",
        "    for start in SERVERS.values():",
        "        process = stack.enter_context(start()).process",
        "        print(process._process.pid, process._folder, flush=True)",
        "    os.kill(os.getpid(), signal.SIGKILL)",
    ]
    code = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    started = [line.split() for line in done.stdout.splitlines()]
    assert (done.returncode, len(started)) == (-9, 2)
    for pid, folder in started:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(int(pid))
            ended = select.select([descriptor], [], [], 30)[0]
            os.close(descriptor)
            assert ended
        shutil.rmtree(folder)
