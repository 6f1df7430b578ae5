"""The spool: what waits in it, how it is delivered, and what happens when it cannot be written either."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ConfigError, StoreError
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import Session, header_from_row
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from tests.contract.test_stores import NONE, content, header
from tests.servers import Server, Servers, execute, query, seen_by_client
from tests.system.test_full_disk import mounted


@pytest.fixture
def database(servers: Servers, tmp_path: Path) -> Server:
    return servers.database("sqlite", tmp_path)


@pytest.fixture
def refusing(database: Server, tmp_path: Path) -> SpoolStore:
    """A store whose database refuses, until its trigger `quota` is dropped."""
    store = SpoolStore(OdbcStore(database.odbc), tmp_path / "spool")
    store.prepare()
    execute(database, "CREATE TRIGGER quota BEFORE INSERT ON veles BEGIN SELECT RAISE(ABORT, 'quota exceeded'); END")
    return store


def test_what_waits_is_listed_opened_and_deleted(refusing: SpoolStore) -> None:
    headers = [header(f"run_{number}") for number in range(3)]
    locations = [refusing.put(one, NONE, content(one)) for one in headers]
    assert [entry.header for entry in refusing.list()] == headers[::-1]
    assert sorted(refusing.waiting) == sorted(locations)
    assert b"".join(refusing.open(locations[0])) == b"".join(content(headers[0]))
    refusing.delete(locations[0])
    assert [entry.header for entry in refusing.list()] == headers[:0:-1]


def test_snapshot_that_has_arrived_before_is_not_put_twice(refusing: SpoolStore, database: Server) -> None:
    one = header()
    refusing.put(one, NONE, content(one))
    assert refusing.deliver() == {}
    execute(database, "DROP TRIGGER quota")
    arrived = OdbcStore(database.odbc).put(one, NONE, content(one))
    assert refusing.deliver() == {one.uuid: arrived}
    assert refusing.waiting == []
    assert query(database, "SELECT COUNT(*) FROM veles") == [(1,)]


def test_what_can_never_be_delivered_is_gone_around_and_named(
    refusing: SpoolStore, database: Server, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [header(f"run_{number}", workflow=f"flow_{number}") for number in range(4)]
    locations = [refusing.put(one, NONE, content(one)) for one in headers]
    execute(
        database,
        "DROP TRIGGER quota",
        "CREATE TRIGGER one BEFORE INSERT ON veles WHEN NEW.workflow = 'flow_0' BEGIN SELECT RAISE(ABORT, 'never'); END",
    )
    cut = Path(locations[1])
    cut.write_bytes(cut.read_bytes()[:-20])
    begin = Path(locations[2])
    begin.write_bytes(begin.read_bytes()[:100])
    assert list(refusing.deliver()) == [headers[3].uuid]
    assert seen_by_client(database, "SELECT workflow FROM veles") == [["flow_3"]]
    assert sorted(refusing.waiting) == sorted(locations[:3])
    for location, reason in zip(locations, ("never", "trailer", "ends within its header"), strict=False):
        assert any(location in text and reason in text for text in caplog.messages)
    caplog.clear()
    new = header("run_new")
    assert refusing.put(new, NONE, content(new)).startswith("odbc:")
    assert not [text for text in caplog.messages if "cannot be delivered" in text]  # it was said


def test_location_in_the_spool_leads_to_the_snapshot_after_it_was_delivered(refusing: SpoolStore, database: Server) -> None:
    one = header()
    waited = refusing.put(one, NONE, content(one))
    execute(database, "DROP TRIGGER quota")
    refusing.deliver()
    assert b"".join(refusing.open(waited)) == b"".join(content(one))
    refusing.delete(waited)
    assert seen_by_client(database, "SELECT count(*) FROM veles") == [["0"]]


def test_row_that_is_there_in_part_is_not_taken_for_the_snapshot(refusing: SpoolStore, database: Server) -> None:
    one = header()
    refusing.put(one, NONE, content(one))
    execute(database, "DROP TRIGGER quota")
    OdbcStore(database.odbc).put(one, NONE, content(one))
    execute(database, "UPDATE veles SET data = substr(data, 1, 100)")
    ((_, location),) = refusing.deliver().items()
    assert b"".join(OdbcStore(database.odbc).open(location)) == b"".join(content(one))
    assert seen_by_client(database, "SELECT count(*) FROM veles") == [["2"]]


def test_a_database_is_known_however_its_connection_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for same in (
        [
            "DRIVER={MySQL};SERVER=db;PORT=1;DATABASE=d;UID=u;PWD=one-password",
            "driver=MySQL ; pwd=another;uid=v; Database = d;server=DB;port=1;CHARSET=utf8mb4;",
        ],
        ["DSN=runs", "runs", "dsn=runs;UID=x"],
        ["DRIVER={SQLite3};Database=x.db", f"Driver=SQLite3;Database={tmp_path}/x.db", "DRIVER=SQLite3;database=./x.db"],
    ):
        assert len({OdbcStore(odbc).identity for odbc in same}) == 1
        assert len({OdbcStore(same[0]).identity, OdbcStore(same[0], "other").identity}) == 2
    assert "password" not in OdbcStore("SERVER=x;PWD=one-password").identity


def test_processes_that_deliver_at_once_deliver_each_once(refusing: SpoolStore, database: Server) -> None:
    for number in range(5):
        one = header(f"run_{number}")
        refusing.put(one, NONE, content(one))
    execute(database, "DROP TRIGGER quota")
    threads = [threading.Thread(target=refusing.deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusing.waiting == []
    assert query(database, "SELECT COUNT(*) FROM veles") == [(5,)]


def test_spool_that_cannot_be_written_either(refusing: SpoolStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SpoolStore(refusing._store, tmp_path / "file")
    one = header()
    with pytest.raises(StoreError, match=r"quota exceeded.*; the spool cannot take it either: .*'.*file"):
        store.put(one, NONE, content(one))


def test_spool_that_cannot_be_written_does_not_matter_while_the_store_takes_snapshots(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SpoolStore(FileStore(tmp_path / "snapshots"), tmp_path / "file")
    one = header()
    assert os.path.isfile(store.put(one, NONE, content(one)))


def test_raise_keeps_the_snapshot_and_says_where(refusing: SpoolStore, tmp_path: Path) -> None:
    store, one = SpoolStore(refusing._store, tmp_path / "spool", go_on=False), header()
    with pytest.raises(StoreError, match=r"quota exceeded.*; the snapshot is .*/spool/.*, from which the run can be resumed"):
        store.put(one, NONE, content(one))
    assert len(store.waiting) == 1


def test_error_of_the_snapshot_itself_is_no_refusal(tmp_path: Path) -> None:
    def members() -> Iterator[bytes]:
        yield b"begin"
        raise RuntimeError("the codec fails")

    store = SpoolStore(FileStore(tmp_path / "snapshots"), tmp_path / "spool")
    with pytest.raises(RuntimeError, match="the codec fails"):
        store.put(header(), NONE, members())
    assert store.waiting == []


def test_header_in_a_row_that_cannot_be_read_is_another_snapshots(database: Server) -> None:
    store, one = OdbcStore(database.odbc), header()
    store.prepare()
    store.put(one, NONE, content(one))
    execute(database, "UPDATE veles_chunks SET data = X'FFFE'")
    again = store.put(one, NONE, content(one))
    assert again.endswith("_2.5")


def test_list_of_rows_that_cannot_be_read_is_damage(database: Server) -> None:
    from runner.errors import SnapshotDamagedError

    with pytest.raises(SnapshotDamagedError, match="its header cannot be read"):
        header_from_row(b"\xff")
    for data in (b'{"veles-run chunks":', b'{"veles-run chunks":"x"}', b'{"veles-run chunks":1}'):
        with pytest.raises(SnapshotDamagedError, match="the list of its rows cannot be read"):
            list(Session.read(None, "", "", data))


def test_dropped_table_is_a_refusal(database: Server, tmp_path: Path) -> None:
    store = SpoolStore(OdbcStore(database.odbc, create_table=False), tmp_path / "spool")
    with pytest.raises(ConfigError, match="does not exist"):
        store.prepare()
    one = header()
    assert str(tmp_path / "spool") in store.put(one, NONE, content(one))
    two = header("run_two")
    assert str(tmp_path / "spool") in store.put(two, NONE, content(two))
    assert len(store.waiting) == 2


def test_snapshot_that_another_process_delivers_first(tmp_path: Path) -> None:
    class Slow(FileStore):
        """While it prepares, another process delivers what waits."""

        def prepare(self) -> None:
            for path in (tmp_path / "spool").glob("*/*.pickle"):
                path.unlink()

    store, one = SpoolStore(Slow(tmp_path / "snapshots"), tmp_path / "spool"), header()
    store._spool.put(one, NONE, content(one))
    assert store.deliver() == {}
    assert list(store.list()) == []


@pytest.mark.parametrize("refuses", [False, True])
def test_spool_whose_disk_is_full(refuses: bool, refusing: SpoolStore, tmp_path: Path) -> None:
    """The copy is given up; that is an error only when the store refuses, too."""
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = SpoolStore(refusing._store if refuses else FileStore(tmp_path / "snapshots"), disk)
        one = header()
        large = content(one, bytes(3_000_000))
        if refuses:
            with pytest.raises(
                StoreError, match=r"quota exceeded.*; the spool cannot take it either: .*No space left on device"
            ):
                store.put(one, NONE, large)
        else:
            assert b"".join(store.open(store.put(one, NONE, large))) == b"".join(large)
        assert list(disk.rglob("*.pickle")) == []
