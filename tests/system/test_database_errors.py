"""Bad input, and servers that go away: one message with what to do, the right exit code, and nothing lost."""

import re
import uuid
from pathlib import Path

import pytest

from runner.errors import (
    ConfigError,
    RunnerError,
    SnapshotAmbiguousError,
    SnapshotMismatchError,
    SnapshotNotFoundError,
    StoreAccessError,
    StoreAwayError,
)
from runner.snapshots.odbc import odbc_store
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import header_of
from tests.conftest import Run
from tests.contract.test_stores import NONE, content, header
from tests.servers import PASSWORD, Server, Servers, connection_string, execute, free_port, query

BASE = ("conf=mnist_small", "seed=1", "decision.max_epochs=1")
SERVED = {"mariadb": "MySQL", "postgresql": "PostgreSQL"}


@pytest.fixture
def sqlite(servers: Servers, tmp_path: Path) -> Server:
    return servers.database("sqlite", tmp_path)


def said(veles_run: Run, *arguments: str, code: int, **options: object) -> str:
    """Runs the command, which must fail with one message, and returns that."""
    done = veles_run(*arguments, code=code, **options)
    lines = [line for line in done.stderr.splitlines() if "a password on the command line" not in line]
    assert "Traceback" not in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    (line,) = lines
    return line


def refused(error: type[RunnerError], odbc: str, message: str, **options: object) -> None:
    with pytest.raises(error, match=message) as caught:
        OdbcStore(odbc, **options).prepare()
    assert "\n" not in str(caught.value)


def test_without_a_driver_manager(veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libodbc.so.2").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    for arguments in ([*BASE, "snapshotter.odbc=DSN=x"], ["snapshot=odbc://DSN=x&&abc&"]):
        assert said(veles_run, *arguments, code=2) == (
            "veles-run: snapshots in databases need an ODBC driver manager and pyodbc"
            f" ({tmp_path}/libodbc.so.2: file too short): apt install unixodbc, pip install pyodbc"
        )


def test_unknown_driver_lists_the_installed_ones(veles_run: Run, odbc_folder: Path) -> None:
    assert said(veles_run, *BASE, f"snapshotter.odbc=DRIVER={{Oracle}};SERVER=here;PWD={PASSWORD}", code=2) == (
        "veles-run: cannot connect to the database (DRIVER={Oracle};SERVER=here;PWD=***): Can't open lib 'Oracle' : file not"
        " found (0); installed drivers: MySQL, PostgreSQL, SQLite3; data sources: none"
    )


@pytest.mark.parametrize("odbc", ["nowhere", "DSN=nowhere"])
def test_unknown_data_source(odbc: str, odbc_folder: Path) -> None:
    (odbc_folder / "odbc.ini").write_text("[here]\nDriver=SQLite3\n")
    refused(ConfigError, odbc, r"Data source name not found .*; data sources: here$")
    (odbc_folder / "odbc.ini").write_text("")


@pytest.mark.parametrize(("kind", "driver"), SERVED.items())
def test_wrong_password(kind: str, driver: str, servers: Servers, veles_run: Run) -> None:
    port = servers.running(kind).port
    odbc = connection_string(driver, port, password="wrong-" + PASSWORD)
    message = said(veles_run, *BASE, f"snapshotter.odbc={odbc}", code=2)
    shown = connection_string(driver, port, password="***")
    assert message.startswith(f"veles-run: cannot connect to the database ({shown}): ")
    assert re.search(r"Access denied for user 'veles'|password authentication failed for user \"veles\"", message)
    assert message.endswith("; check user, password and rights")


@pytest.mark.parametrize("driver", SERVED.values())
def test_server_that_is_not_there(driver: str, odbc_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odbc_store, "IMPATIENCE", 0.1)
    refused(
        StoreAwayError,
        connection_string(driver, free_port()),
        r"^cannot connect to the database \(.*;PWD=\*\*\*\): .*; check host and port, and whether the server is running$",
    )
    refused(StoreAwayError, connection_string(driver, 1, host="no.such.host.invalid"), r"no\.such\.host\.invalid")


def test_exit_code_for_a_server_that_is_not_there(veles_run: Run, odbc_folder: Path) -> None:
    odbc = connection_string("PostgreSQL", free_port())
    done = veles_run(*BASE, f"snapshotter.odbc={odbc}", code=1)
    assert PASSWORD not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].endswith("; check host and port, and whether the server is running")
    assert "trying again in" in done.stdout


@pytest.mark.parametrize("kind", SERVED)
def test_unknown_database(kind: str, servers: Servers) -> None:
    odbc = servers.running(kind).odbc.replace("DATABASE=veles", "DATABASE=nothing")
    refused(ConfigError, odbc, r"nothing.*; check the name of the database$")


def test_database_file_in_a_folder_that_is_not_there(tmp_path: Path, odbc_folder: Path) -> None:
    refused(ConfigError, f"DRIVER={{SQLite3}};Database={tmp_path}/missing/x.db", "connect failed.*; check the name")


def with_rights(kind: str, servers: Servers, tmp_path: Path, rights: str) -> tuple[Server, str]:
    """Returns a database with tables, and the connection string of a user with those rights only."""
    database = servers.database(kind, tmp_path)
    user = f"u{uuid.uuid4().hex[:8]}"
    OdbcStore(database.odbc).prepare()
    create = f"CREATE USER {user} IDENTIFIED BY 'p'" if kind == "mariadb" else f"CREATE USER {user} PASSWORD 'p'"
    usage = [f"GRANT USAGE ON *.* TO {user}"] if kind == "mariadb" else []
    grants = [f"GRANT {rights} ON {table} TO {user}" for table in ("veles", "veles_chunks")]
    execute(database, create, *usage, *grants)
    return database, database.odbc.replace("UID=veles;", f"UID={user};").replace(f"PWD={PASSWORD}", "PWD=p")


@pytest.mark.parametrize("kind", SERVED)
def test_missing_rights(kind: str, servers: Servers, tmp_path: Path) -> None:
    _, odbc = with_rights(kind, servers, tmp_path, "SELECT")
    refused(StoreAccessError, odbc, r"cannot write to table 'veles' .*denied .*; check user, password and rights$")
    refused(
        StoreAccessError,
        odbc,
        r"cannot (create|read) table 'other' .*denied .*; check user, password and rights$",
        table="other",
    )


@pytest.mark.parametrize("kind", SERVED)
def test_account_that_may_only_write(kind: str, servers: Servers, tmp_path: Path) -> None:
    database, odbc = with_rights(kind, servers, tmp_path, "SELECT, INSERT")
    store = OdbcStore(odbc, create_table=False)
    store.prepare()
    one = header(epoch=3)
    location = store.put(one, NONE, content(one))
    assert header_of(location) == one
    assert query(database, "SELECT uuid, epoch, stored FROM veles_chunks WHERE number = 0") == [(one.uuid, 3, None)]
    with pytest.raises(StoreAccessError, match="cannot delete from table 'veles'"):
        store.delete(location)
    assert header_of(location) == one


def test_table_that_may_not_be_made_comes_with_its_definition(database: Server) -> None:
    store = OdbcStore(database.odbc, create_table=False)
    with pytest.raises(ConfigError, match=r"table 'veles' does not exist, and snapshotter\.create_table=false") as caught:
        store.prepare()
    _, _, ddl = str(caught.value).partition("have it created with: ")
    statements = ddl.removesuffix(";").split("; ")
    assert len(statements) == 7  # two tables, five indexes
    execute(database, *statements)
    store.prepare()
    one = header()
    assert header_of(store.put(one, NONE, content(one))) == one


def test_table_with_other_columns(database: Server) -> None:
    execute(database, "CREATE TABLE veles (id char(36), name varchar(100), price integer)")
    refused(
        ConfigError,
        database.odbc,
        r"^table 'veles' has no column timestamp, log_id, workflow, codec, data \(it has id, name, price\), so it is not a"
        r" table of snapshots: choose another with snapshotter\.table=NAME$",
    )
    assert query(database, "SELECT COUNT(*) FROM veles") == [(0,)]


def test_table_name_that_is_no_identifier(sqlite: Server, veles_run: Run) -> None:
    arguments = (*BASE, f"snapshotter.odbc={sqlite.odbc}", "snapshotter.table=veles; drop table x")
    assert said(veles_run, *arguments, code=2) == (
        "veles-run: snapshotter.table='veles; drop table x' is not a table name: use letters, digits and _, do not begin with a"
        " digit, and use at most 56 characters (a schema and a dot may come first)"
    )


@pytest.mark.parametrize("name", ["", "1x", "x" * 57, "a.b.c.d", "a..b", "x'", 'x"', "x`", "x y", "é"])
def test_other_names_that_are_no_identifiers(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a table name"):
        OdbcStore("DSN=x", name)


def test_table_in_a_schema(servers: Servers, tmp_path: Path) -> None:
    database = servers.database("postgresql", tmp_path)
    execute(database, "CREATE SCHEMA runs")
    store = OdbcStore(database.odbc, "runs.veles")
    store.prepare()
    location = store.put(header(), NONE, [b"content"])
    assert query(database, "SELECT COUNT(*) FROM runs.veles") == [(1,)]
    assert list(store.open(location)) == [b"content"]


def test_no_snapshot_fits(database: Server) -> None:
    store = OdbcStore(database.odbc)
    store.prepare()
    one = header()
    store.put(one, NONE, content(one))
    other = str(uuid.uuid4())
    for place in (f"{other}&{other}", f"{one.run_id}&{other}", f"{one.run_id}&{one.log_id}&run.other.5"):
        with pytest.raises(
            SnapshotNotFoundError, match=r"there is no snapshot .*check the ids \(snapshot=latest takes the newest"
        ):
            header_of(f"odbc://{database.odbc}&&{place}")
    with pytest.raises(SnapshotNotFoundError, match="there is no snapshot"):
        header_of(f"odbc://{database.odbc}&nothing&{one.run_id}&")


def test_ambiguous_id(sqlite: Server, veles_run: Run) -> None:
    store = OdbcStore(sqlite.odbc)
    store.prepare()
    runs = [f"abc{number}{str(uuid.uuid4())[4:]}" for number in (1, 2)]
    for run in runs:
        one = header(run_id=run, log_id=run)
        store.put(one, NONE, content(one))
    message = said(veles_run, f"snapshot=odbc://{sqlite.odbc}&&abc&", code=2)
    assert message == (
        f"veles-run: abc&abc matches 2 runs in table veles of {sqlite.odbc}: {runs[0]}&{runs[0]}, {runs[1]}&{runs[1]};"
        " give more of the ids"
    )
    assert header_of(f"odbc://{sqlite.odbc}&&{runs[1][:4]}&").run_id == runs[1]
    with pytest.raises(SnapshotAmbiguousError):
        header_of(f"odbc://{sqlite.odbc}&&a&")


@pytest.mark.parametrize("place", ["", "DSN=x", "DSN=x&veles", f"DSN=x;PWD={PASSWORD}&veles&not-an-id&", "&&abc&"])
def test_place_with_parts_missing(place: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the location of a snapshot in a database: odbc://<connection") as caught:
        header_of(f"odbc://{place}")
    assert PASSWORD not in str(caught.value)


def test_latest_without_a_snapshot(sqlite: Server, veles_run: Run) -> None:
    message = said(veles_run, *BASE, f"snapshotter.odbc={sqlite.odbc}", "snapshot=latest", code=2)
    assert message == (f"veles-run: snapshot=latest: there is no snapshot of 'mnist_small' in table veles of {sqlite.odbc}")


def test_mask_in_place_of_the_password(servers: Servers, veles_run: Run) -> None:
    odbc = connection_string("MySQL", servers.running("mariadb").port, password="***")
    assert said(veles_run, *BASE, f"snapshotter.odbc={odbc}", code=2) == (
        f"veles-run: the password of {odbc!r} is not kept with a run: give the connection string again, with its password, as"
        " snapshotter.odbc='...' or snapshot='odbc://...'"
    )


def test_reference_that_leads_nowhere(veles_run: Run) -> None:
    assert said(veles_run, *BASE, "snapshotter.odbc=${oc.env:VELES_NO_SUCH}", code=2) == (
        "veles-run: '${oc.env:VELES_NO_SUCH}' cannot be resolved: KeyError raised while resolving"
        " interpolation: \"Environment variable 'VELES_NO_SUCH' not found\""
    )


def test_rows_of_the_original_veles_are_refused(database: Server, veles_run: Run) -> None:
    kinds = {"sqlite": ("datetime", "longblob"), "mariadb": ("datetime", "longblob"), "postgresql": ("timestamp", "bytea")}
    time, blob = kinds[database.kind]
    run = str(uuid.uuid4())
    quote = "`" if database.kind == "mariadb" else '"'
    execute(
        database,
        f"CREATE TABLE veles ({quote}timestamp{quote} {time}, id char(36), log_id char(36), workflow varchar(100),"
        f" name varchar(100), codec varchar(10), data {blob})",
        f"INSERT INTO veles VALUES ('2015-06-01 12:00:00', '{run}', '{run}', 'mnist', 'mnist.validation_1.92.4', 'gz', NULL)",
    )
    why = "it was written by the original VELES, whose pickles hold its own classes and cannot be restored here"
    with pytest.raises(SnapshotMismatchError, match=why):
        header_of(f"odbc://{database.odbc}&veles&{run}&")
    told: list[str] = []
    store = OdbcStore(database.odbc)
    assert list(store.list(lambda location, error: told.append(str(error)))) == []
    assert told == [why]
    if database.kind == "mariadb":  # its default is of one script
        with pytest.raises(ConfigError, match="ALTER TABLE `veles` CONVERT TO CHARACTER SET utf8mb4; ALTER TABLE") as refusal:
            store.prepare()
        execute(database, *re.findall("ALTER TABLE `[a-z_]*` CONVERT TO CHARACTER SET utf8mb4", str(refusal.value)))
    store.prepare()  # the table serves both
    one = header()
    location = store.put(one, NONE, content(one))
    assert [entry.location for entry in store.list()] == [location]
    assert header_of(location) == one
    assert query(database, "SELECT COUNT(*) FROM veles") == [(2,)]
