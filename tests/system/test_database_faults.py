"""A server that is killed, and connections that break in the middle: none of the snapshots is lost, doubled or halved."""

import json
import os
import random
import re
import shlex
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import StoreAwayError
from runner.snapshots.odbc import connection
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import header_of
from runner.snapshots.stores import patience
from tests import forked
from tests.conftest import Run
from tests.contract.test_stores import NONE, content, header
from tests.database_faults import cut_often, kill_often, kill_writers
from tests.proxy import proxy
from tests.servers import SERVERS, Server, Servers, execute, query, sqlite
from tests.system.test_resume import epoch_lines, final_snapshot

BASE = ("conf=mnist_small", "seed=7", "loader.train_size=600", "loader.validation_size=200")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Server:
    return servers.database(request.param, tmp_path)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.5)


def test_connections_cut_in_the_middle(server: Server, rng: random.Random) -> None:
    assert cut_often(server, 10, rng.randrange(2**32))["cuts"] > 0


def test_server_killed_in_the_middle(server: Server, rng: random.Random) -> None:
    assert kill_often(server, 3, rng.randrange(2**32))["kills"] == 3


def test_writers_killed_within_a_save(database: Server, rng: random.Random) -> None:
    assert kill_writers(database, 5, rng.randrange(2**32))["writers killed"] == 5


def test_connection_that_stalls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CALL_LIMIT", 1.0)
    one = header()
    OdbcStore(server.odbc).prepare()
    with proxy(server.port, cut_after=10_000, fault="stall") as relay:
        through = OdbcStore(server.odbc.replace(f"PORT={server.port}", f"PORT={relay.port}"))
        with pytest.raises(
            StoreAwayError, match=r"cannot write to table 'veles' \(.*\): no answer in 1 s; check host and port"
        ):
            through.put(one, NONE, content(one, bytes(100_000)))
        other = header("run_other")
        through.put(other, NONE, content(other))  # the next connection goes through
    # The server has known since then that the first one is no more.
    monkeypatch.setattr(connection, "CALL_LIMIT", 60.0)
    store = OdbcStore(server.odbc)
    store.put(one, NONE, content(one, bytes(100_000)))
    assert sorted(entry.header.name for entry in store.list()) == sorted([one.name, other.name])


def test_two_processes_that_put_the_same_snapshot(server: Server) -> None:
    store, one = OdbcStore(server.odbc), header()
    store.prepare()
    locations: list[str] = []
    threads = [
        threading.Thread(target=lambda: locations.append(store.put(one, NONE, content(one, bytes(200_000))))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(locations) == 4
    assert len(set(locations)) == 1
    assert query(server, "SELECT COUNT(*) FROM veles") == [(1,)]


def refuse(server: Server) -> None:
    """Makes the table refuse a run's rows from its first snapshot on, as a quota does that is reached while it runs."""
    if server.kind == "mariadb":
        execute(
            server,
            "CREATE TRIGGER quota BEFORE INSERT ON veles FOR EACH ROW IF NEW.workflow = 'mnist_small' THEN"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'quota exceeded'; END IF",
        )
    elif server.kind == "postgresql":
        execute(server, "ALTER TABLE veles ADD CONSTRAINT quota CHECK (workflow <> 'mnist_small') NOT VALID")
    else:
        execute(
            server,
            "CREATE TRIGGER quota BEFORE INSERT ON veles WHEN NEW.workflow = 'mnist_small'"
            " BEGIN SELECT RAISE(ABORT, 'quota exceeded'); END",
        )


def accept(server: Server) -> None:
    execute(server, "ALTER TABLE veles DROP CONSTRAINT quota" if server.kind == "postgresql" else "DROP TRIGGER quota")


def test_run_goes_on_with_a_database_that_refuses(database: Server, veles_run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VELES_ODBC", database.odbc)
    where = "snapshotter.odbc=${oc.env:VELES_ODBC}"
    whole = veles_run(*BASE, "decision.max_epochs=4", "hydra.run.dir=whole").stdout
    OdbcStore(database.odbc).prepare()
    refuse(database)
    first = veles_run(*BASE, "decision.max_epochs=2", where, code=1)
    assert len(re.findall("snapshots wait in outputs/spool/", first.stdout)) >= 1
    spooled = final_snapshot(first.stdout)
    assert spooled.startswith("outputs/spool/")
    assert re.search(r"Not delivered yet \(table veles of .*\): outputs/spool/.*A run can be resumed from there", first.stdout)
    assert query(database, "SELECT COUNT(*) FROM veles_chunks") == [(0,)]
    # From the spool itself, and by its newest; the database still refuses.
    assert "Epoch 3" in veles_run(f"snapshot={spooled}", "decision.max_epochs=3", "snapshotter.odbc=null").stdout
    accept(database)
    second = veles_run("conf=mnist_small", where, "snapshot=latest", "decision.max_epochs=4").stdout
    assert f"Resuming from {spooled}" in second
    assert f"Snapshot delivered: {spooled} is now odbc://" in second
    assert epoch_lines(first.stdout) + epoch_lines(second) == epoch_lines(whole)
    assert not [path for path in (tmp_path / "outputs" / "spool").rglob("*.pickle*") if not path.is_symlink()]
    assert len(query(database, "SELECT name FROM veles")) == len(
        re.findall("^Snapshot written", first.stdout + second, re.MULTILINE)
    )


def test_complete_run_delivers_its_spool_and_raise_stops_with_nothing_lost(servers: Servers, veles_run: Run, tmp_path: Path):
    database = servers.database("sqlite", tmp_path)
    where = f"snapshotter.odbc={database.odbc}"
    OdbcStore(database.odbc).prepare()
    refuse(database)
    done = veles_run(*BASE, "decision.max_epochs=3", where, "snapshotter.on_error=raise", code=1)
    (lost,) = re.findall(r"the snapshot is (outputs/spool/\S+), from which the run can be resumed", done.stderr)
    assert "Epoch 3" not in done.stdout
    assert (tmp_path / lost).is_file()
    (result,) = tmp_path.glob("outputs/mnist_small/*/*/result.json")
    assert json.loads(result.read_text())["last_snapshot"] == lost
    assert re.search(rf"^Continue: veles-run .*snapshot={lost}", done.stdout, re.MULTILINE)
    resumed = veles_run(
        "conf=mnist_small", where, "snapshot=auto", "decision.max_epochs=3", "snapshotter.on_error=null", code=1
    )
    assert "Not delivered yet (table veles of" in resumed.stdout
    still = veles_run("conf=mnist_small", where, "snapshot=auto", code=1)
    assert "The run is complete" in still.stdout
    accept(database)
    end = veles_run("conf=mnist_small", where, "snapshot=auto").stdout
    assert re.search(r"^Extend it: veles-run .*snapshot=odbc://", end.replace("'", ""), re.MULTILINE)
    assert all(entry.location.startswith("odbc:") for entry in OdbcStore(database.odbc).list())


def test_database_that_only_the_snapshot_names_is_refused(servers: Servers, veles_run: Run, tmp_path: Path) -> None:
    done = veles_run(*BASE, "decision.max_epochs=1", f"snapshotter.odbc={servers.database('sqlite', tmp_path).odbc}")
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path / 'snapshots.db'}")
    (entry,) = store.list()
    (tmp_path / "foreign.pickle.gz").write_bytes(b"".join(store.open(entry.location)))
    refused = veles_run("snapshot=foreign.pickle.gz", "decision.max_epochs=2", code=2).stderr
    assert re.fullmatch(
        r"veles-run: .* database .*: confirm it with snapshotter\.odbc='DRIVER=\{SQLite3\};Database=.*\n", refused
    )
    assert "Epoch 2" in veles_run("snapshot=foreign.pickle.gz", "decision.max_epochs=2", "snapshotter.odbc=null").stdout
    assert "Epoch 2" in veles_run(f"snapshot={final_snapshot(done.stdout)}", "decision.max_epochs=2").stdout


def test_driver_that_is_a_path_may_be_typed(odbc_folder: Path, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").rglob("libsqlite3odbc.so"))
    store = OdbcStore(f"DRIVER={library};Database={tmp_path / 'x.db'}")
    store.prepare()
    assert os.listdir(tmp_path) == ["x.db"]


def test_a_stop_with_little_time_waits_for_no_database_that_is_locked(tmp_path: Path) -> None:
    database = sqlite(tmp_path)
    settings = [f"snapshotter.odbc={database.odbc}", "snapshotter.grace=5", "snapshotter.keep_last=1", "hydra.run.dir=out"]
    long = ["decision={max_epochs: 9999, fail_iterations: null}", "plotters=false", "report=false"]
    with forked.Started([*BASE, *settings, *long], cwd=tmp_path) as started:
        started.wait_for(lambda: "Snapshot written: odbc:" in started.output)
        with closing(sqlite3.connect(tmp_path / "snapshots.db", timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            started.send_signal(signal.SIGTERM)
            started.wait_for(lambda: "Snapshot written: outputs/spool/" in started.output)
            (waiting,) = tmp_path.glob("outputs/spool/*/*.pickle*")
            waited_since = header_of(waiting).time
            assert other.execute("SELECT COUNT(*) FROM veles").fetchone()[0] >= 1  # nothing made way for what may be lost
            other.execute("ROLLBACK")
        done = started.end(120)
    assert done.returncode == 75, done.stderr
    (row,) = query(database, "SELECT name FROM veles")  # now it has
    command = shlex.split(re.search(r"^Continue: veles-run (.*)$", done.stdout, re.MULTILINE)[1])
    (location,) = (word.removeprefix("snapshot=").strip("'") for word in command if word.startswith("snapshot="))
    assert row[0] in location
    assert header_of(location).time >= waited_since  # one that was due when the signal came is followed by that of the stop
    assert not list(tmp_path.glob("outputs/spool/*/[!.]*"))


def test_a_database_keeps_its_newest_while_newer_ones_wait_in_the_spool(
    servers: Servers, veles_run: Run, tmp_path: Path
) -> None:
    database = servers.database("sqlite", tmp_path)
    OdbcStore(database.odbc).prepare()
    full = (
        "CREATE TRIGGER quota BEFORE INSERT ON veles WHEN EXISTS (SELECT * FROM veles) BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    execute(database, full)
    where = f"snapshotter.odbc={database.odbc}"
    veles_run(*BASE, where, "snapshotter.keep_last=1", "decision.max_epochs=3", code=1)
    (kept,) = query(database, "SELECT name FROM veles")
    (waiting,) = (path.relative_to(tmp_path) for path in tmp_path.glob("outputs/spool/*/[!.]*"))
    execute(database, "DROP TRIGGER quota")
    veles_run("conf=mnist_small", where, "snapshot=auto")
    assert {kept} < {*query(database, "SELECT name FROM veles")}
    missing = veles_run(f"snapshot={waiting}", "decision.max_epochs=5", code=2).stderr
    assert "it has probably been delivered from this spool" in missing
