"""What every store with locks promises: no two processes go on with the same run, and one that has ended holds nothing."""

import multiprocessing
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import pyodbc
import pytest

from runner import passwords
from runner.errors import RunInUseError
from runner.snapshots.claims import Claims
from runner.snapshots.odbc import lease
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.remote import renewed_claim
from runner.snapshots.remote.remote_store import RemoteStore
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from runner.snapshots.stores.store import Store
from tests.buckets import Bucket
from tests.servers import KINDS, Server, Servers, execute, query

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
LIMIT = 30.0

_context = multiprocessing.get_context("fork")


@pytest.fixture(params=["file", "s3", *KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "file":
        return FileStore(tmp_path / "snapshots")
    if request.param == "s3":
        monkeypatch.setattr(renewed_claim, "RENEWAL", 0.2)
        return RemoteStore(request.getfixturevalue("bucket").url)
    servers: Servers = request.getfixturevalue("servers")
    store = OdbcStore(servers.database(request.param, tmp_path).odbc)
    store.prepare()
    return store


@contextmanager
def holder(store: Store, run: str = RUN, then: Callable[[], object] = lambda: None) -> Iterator[tuple[int, Connection]]:
    """A process that has claimed a run; it lets go when it is sent something."""
    ours, its = _context.Pipe()

    def hold() -> None:
        with store.claimed(run):
            its.send(then())
            its.recv()

    process = _context.Process(target=hold)
    process.start()
    try:
        yield process.pid, ours
    finally:
        process.kill()
        process.join()


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_free(store: Store, run: str = RUN) -> bool:
    try:
        with store.claimed(run):
            return True
    except RunInUseError:
        return False


def left(store: Store) -> list[object]:
    """Returns what claims have left in a store."""
    if isinstance(store, FileStore):
        return list(store.directory.glob(".*"))
    if isinstance(store, RemoteStore):
        return list(fsspec.filesystem("s3", use_listings_cache=False).find(store.place))
    folder = Path(store.odbc.rpartition("Database=")[2]).parent
    return [*folder.glob(".*.lock")] if "SQLite" in store.odbc else []


def test_a_second_process_is_told_who_has_the_run(store: Store) -> None:
    with holder(store) as (pid, process):
        process.recv()
        said = re.escape(f"process {pid} on {socket.gethostname()}, since 20")
        with pytest.raises(RunInUseError, match=rf"{said}\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"), store.claimed(RUN):
            pass
        assert is_free(store, OTHER)
        process.send("end")
        eventually(lambda: is_free(store))
    assert is_free(store)
    assert left(store) == []


def test_a_process_that_was_killed_holds_nothing(store: Store) -> None:
    with holder(store) as (_, process):
        process.recv()
        assert not is_free(store)
    eventually(lambda: is_free(store))
    with holder(store) as (pid, process):
        process.recv()
        with pytest.raises(RunInUseError, match=f"process {pid} "), store.claimed(RUN):
            pass


def test_a_run_is_claimed_once_by_each_process_whatever_the_store_is_called(store: Store, tmp_path: Path) -> None:
    if isinstance(store, FileStore):
        again: Store = FileStore(store.directory / ".." / "snapshots")
    elif isinstance(store, RemoteStore):
        again = RemoteStore(f"{store.place}/")
    else:
        again = OdbcStore(f"{passwords.reveal(store.odbc)};")
    with store.claimed(OTHER), again.claimed(OTHER):
        pass
    with Claims() as claims:
        for one in (store, store, again, SpoolStore(store, tmp_path / "spool")):
            claims.take(one, "log", "identity")
        with holder(store, OTHER) as (_, process):
            process.recv()
    with Claims() as claims:
        claims.take(again, "log", "identity")


def test_a_child_of_a_process_that_was_killed_holds_no_lock(tmp_path: Path) -> None:
    store = FileStore(tmp_path)

    def have_a_child() -> int:
        child = os.fork()
        if not child:
            time.sleep(LIMIT)
            os._exit(0)
        return child

    with holder(store, then=have_a_child) as (_, process):
        child = process.recv()
        assert not is_free(store)
    try:
        eventually(lambda: is_free(store))
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_without_a_lock_file_to_be_had(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the run goes on."""
    for name in ("folder", "link", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / f".{RUN}.lock").mkdir()
    (tmp_path / "link" / f".{RUN}.lock").symlink_to(tmp_path / "victim")
    for name in ("folder", "link", "file/below"):
        caplog.clear()
        with FileStore(tmp_path / name).claimed(RUN):
            assert "cannot be locked" in caplog.text or name == "file/below"
        (tmp_path / "file").touch()
    assert not (tmp_path / "victim").exists()


def test_another_file_that_was_given_the_name_of_the_lock_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    os.link(tmp_path / "victim", tmp_path / f".{RUN}.lock")
    with FileStore(tmp_path).claimed(RUN):
        assert (tmp_path / "victim").read_text() == "precious"


def test_the_lock_has_the_permissions_of_the_snapshots(tmp_path: Path) -> None:
    with FileStore(tmp_path / "a", 0o600).claimed(RUN):
        assert stat.S_IMODE((tmp_path / "a" / f".{RUN}.lock").stat().st_mode) == 0o600


CONNECTIONS = {
    "mariadb": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
}
HOLDERS = {
    "mariadb": f"SELECT IS_USED_LOCK('veles-run {int(RUN, 16) >> 1}')",
    "postgresql": "SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory'",
}
KILL = {"mariadb": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}


@pytest.fixture(params=CONNECTIONS)
def server(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(lease, "LOOK", 0.2)
    return servers.database(request.param, tmp_path)


def cut(server: Server) -> None:
    for (number,) in query(server, CONNECTIONS[server.kind]):
        with suppress(pyodbc.Error):  # one that has ended by itself meanwhile, such as that of the query before
            execute(server, KILL[server.kind].format(number))


def holding(server: Server) -> object:
    return query(server, HOLDERS[server.kind])[0][0]


def test_a_lost_connection_claims_the_run_again(server: Server) -> None:
    store = OdbcStore(server.odbc)
    store.prepare()
    with store.claimed(RUN):
        before = holding(server)
        assert before is not None
        cut(server)
        eventually(lambda: holding(server) not in (None, before))
    assert holding(server) is None
    assert query(server, "SELECT count(*) FROM veles_chunks") == [(0,)]


def test_a_process_that_has_lost_its_run_to_another_is_stopped(server: Server, monkeypatch, caplog) -> None:
    monkeypatch.setattr(lease, "LOOK", 2.0)
    store = OdbcStore(server.odbc)
    store.prepare()
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with store.claimed(RUN):
            cut(server)
            with holder(store) as (pid, process):
                process.recv()
                eventually(lambda: bool(came))
                assert f"process {pid} " in caplog.text
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_table_that_is_not_there_yet_and_an_account_that_may_only_read(server: Server) -> None:
    store = OdbcStore(server.odbc)
    with store.claimed(RUN), holder(store, OTHER) as (_, process):
        process.recv()
        assert not is_free(store, OTHER)


@pytest.fixture
def bucket_store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    monkeypatch.setattr(renewed_claim, "RENEWAL", 0.2)
    monkeypatch.setattr(renewed_claim, "VOID", 1.5)
    monkeypatch.setattr(renewed_claim, "_machine", lambda: str(os.getpid()))  # as if each process ran on its own
    return RemoteStore(bucket.url)


def test_a_claim_in_a_bucket_is_void_once_it_is_not_renewed(bucket_store: RemoteStore, bucket: Bucket) -> None:
    """Of two that wait for it, one has it."""
    with holder(bucket_store) as (pid, process):
        process.recv()
        with pytest.raises(RunInUseError, match=f"process {pid} "), bucket_store.claimed(RUN):
            pass
    began = time.monotonic()
    with holder(bucket_store) as (first, _), holder(bucket_store) as (second, _):
        eventually(lambda: any(f'"pid": {pid}' in text for pid in (first, second) for text in claims(bucket)))
        assert time.monotonic() - began >= 1
        with pytest.raises(RunInUseError, match=f"process ({first}|{second}) "), bucket_store.claimed(RUN):
            pass
    assert len(claims(bucket)) == 1


def test_a_process_that_could_not_renew_its_claim_in_a_bucket_is_stopped(
    bucket_store: RemoteStore, bucket: Bucket, caplog
) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with bucket_store.claimed(RUN):
            # Another one, for which this one was silent for too long.
            text = claims(bucket)[0].replace("host", "hast")
            bucket.client.put_object(Bucket=bucket.name, Key=f"runs/.claims/{RUN}/7", Body=text)
            eventually(lambda: bool(came))
            assert "another job goes on with this run" in caplog.text
    finally:
        signal.signal(signal.SIGTERM, before)


def claims(bucket: Bucket) -> list[str]:
    """Returns what is written in the claims in a bucket."""
    return [text.decode() for key, text in bucket.objects().items() if "/.claims/" in key]
