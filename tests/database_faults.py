"""Snapshots into a database whose connections break and whose processes are killed: none may be lost, doubled or halved."""

import gc
import hashlib
import os
import random
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from runner.errors import StoreError
from runner.snapshots import codecs
from runner.snapshots.format.header import Header
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.location import Location
from runner.snapshots.stores.spool import SpoolStore
from tests.contract.test_stores import content, header
from tests.proxy import proxy
from tests.servers import Server, execute, query, seen_by_client

NONE = codecs.find("none")
SIZES = (100, 300_000, ROW + 1000)
DIGEST = {"mariadb": "MD5(data)", "postgresql": "md5(data)", "sqlite": "hex(data)"}
"""How each system says what a row holds; SQLite's client has no digest."""
MOST_SAVES = 3
"""That a process acknowledges before it is killed."""


def cut_often(server: Server, count: int, seed: int) -> dict[str, int]:
    """Writes `count` snapshots, the connection of each cut or reset in the middle of INSERT or COMMIT.

    Every second goes through a spool. What was acknowledged must be there, byte for byte, and nothing twice or in part.

    Returns:
        How many connections were broken, and how many snapshots were acknowledged.
    """
    rng = random.Random(seed)
    store = OdbcStore(server.odbc)
    store.prepare()
    acknowledged: dict[str, bytes] = {}
    all_written: dict[str, bytes] = {}
    cuts = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            one = header(f"run_{number}")
            data = content(one, rng.randbytes(size := rng.choice(SIZES)))
            all_written[one.uuid] = b"".join(data)
            in_commit = rng.random() < 0.5
            where = {"cut_at": b"COMMIT"} if in_commit else {"cut_after": rng.randrange(size + 3000)}
            with proxy(server.port, fault=rng.choice(("cut", "reset")), **where) as relay:
                through = OdbcStore(server.odbc.replace(f"PORT={server.port}", f"PORT={relay.port}"))
                put = SpoolStore(through, Path(folder)).put if number % 2 else through.put
                with suppress(StoreError):
                    put(one, NONE, data)
                    acknowledged[one.uuid] = all_written[one.uuid]
                cuts += relay.cuts
        for spool in map(FileStore, Path(folder).iterdir()):  # one for each port of the relay
            for entry in spool.list():
                store.put(entry.header, NONE, spool.open(entry.location))
    check(server, acknowledged, all_written)
    return {"cuts": cuts, "acknowledged": len(acknowledged)}


def kill_often(server: Server, count: int, seed: int) -> dict[str, int]:
    """Writes snapshots through a spool while the server is killed `count` times, each time after one was acknowledged."""
    rng = random.Random(seed)
    store = OdbcStore(server.odbc)
    store.prepare()
    acknowledged: dict[str, bytes] = {}
    progress, done = threading.Semaphore(0), threading.Event()

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            spool = SpoolStore(store, folder)
            try:
                while not done.is_set():
                    one = header(f"run_{len(acknowledged)}")
                    data = content(one, os.urandom(SIZES[len(acknowledged) % len(SIZES)]))
                    spool.put(one, NONE, data)
                    acknowledged[one.uuid] = b"".join(data)
                    progress.release()
                spool.deliver()
                assert spool.waiting == []
            finally:
                progress.release(count + 1)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            for _ in range(count):
                while progress.acquire(blocking=False):
                    pass
                progress.acquire()
                time.sleep(rng.uniform(0, 0.1))
                server.kill()
                server.start()
        finally:
            done.set()
        writing.result()
    check(server, acknowledged, acknowledged)
    return {"kills": count, "acknowledged": len(acknowledged)}


def kill_writers(server: Server, count: int, seed: int) -> dict[str, int]:
    """Kills `count` processes that write snapshots, each at a random moment of a save, after a few.

    Returns:
        How many there were, and how many snapshots they have acknowledged.
    """
    rng = random.Random(seed)
    OdbcStore(server.odbc).prepare()
    gc.freeze()  # a collection in a writer would copy all that is shared with this process
    acknowledged: dict[str, bytes] = {}
    written: dict[str, bytes] = {}
    for process in range(count):
        saves, moment, size = rng.randint(0, MOST_SAVES), rng.uniform(0, 0.02), rng.choice(SIZES)
        names = [f"run_{process}_{save}" for save in range(saves + 1)]
        contents = [random.Random(f"{seed} {name}").randbytes(size) for name in names]
        snapshots = [content(header(name), data) for name, data in zip(names, contents, strict=True)]
        whole = {name: b"".join(snapshot) for name, snapshot in zip(names, snapshots, strict=True)}
        done = _killed_writer(server, list(zip(map(header, names), snapshots, strict=True)), saves, moment)
        written |= whole
        acknowledged |= {name: whole[name] for name in names[:done]}
    check(server, acknowledged, written, key="name")
    return {"writers killed": count, "acknowledged by them": len(acknowledged)}


def _killed_writer(server: Server, snapshots: list[tuple[Header, list[bytes]]], saves: int, moment: float) -> int:
    """Kills a process that writes them, `moment` seconds after so many saves; returns how many it has acknowledged."""
    read, acknowledge = os.pipe()
    if not (process := os.fork()):
        with suppress(BaseException):
            store = OdbcStore(server.odbc)
            store.prepare()
            os.write(acknowledge, b"b")
            for one, data in snapshots:
                store.put(one, NONE, data)
                os.write(acknowledge, b"a")
            signal.pause()
        os._exit(1)  # it has failed: it does not end by itself
    os.close(acknowledge)
    with os.fdopen(read, "rb", buffering=0) as pipe:
        told = b"".join(pipe.read(1) for _ in range(saves + 1))
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        told += pipe.readall()
    assert os.WIFSIGNALED(status), f"a writer has failed: {server.kind}"
    return told.count(b"a")


def check(server: Server, acknowledged: dict[str, bytes], written: dict[str, bytes], key: str = "uuid") -> None:
    """Fails if a snapshot was lost, is there twice, or in part, as we read it, and as the system's own client does.

    It empties the table.

    Args:
        acknowledged: by `key`.
        written: all that may be there, by `key`.
        key: the field of headers by which they are told apart.
    """
    store = OdbcStore(server.odbc)
    found: dict[str, bytes] = {}
    names: dict[str, bytes] = {}
    for entry in store.list():
        one = getattr(entry.header, key)
        assert one not in found, f"twice: {entry.location}"
        found[one] = names[Location.parse(entry.location).name] = b"".join(store.open(entry.location))
    for one, data in found.items():
        assert data == written[one], f"not what was written: {one}"
    lost = {one: len(data) for one, data in acknowledged.items() if one not in found}
    assert not lost, f"acknowledged, and lost: {lost}"
    orphans = query(
        server,
        "SELECT COUNT(*) FROM veles_chunks c LEFT JOIN veles m ON m.id = c.id AND m.name = c.name WHERE m.name IS NULL",
    )
    assert orphans == [(0,)]
    _check_by_client(server, names)
    execute(server, "DELETE FROM veles", "DELETE FROM veles_chunks")


def _check_by_client(server: Server, snapshots: dict[str, bytes]) -> None:
    """Fails if the system's own client finds other snapshots than these, or other bytes."""
    columns = f"LENGTH(data), {DIGEST[server.kind]}"
    main = {name: [row] for name, *row in seen_by_client(server, f"SELECT name, {columns} FROM veles")}
    chunks: dict[str, list[list[str]]] = {}
    for name, *row in seen_by_client(
        server, f"SELECT name, {columns} FROM veles_chunks WHERE number > 0 ORDER BY name, number"
    ):
        chunks.setdefault(name, []).append(row)
    assert main.keys() == snapshots.keys()
    for name, rows in (main | chunks).items():
        begin = 0
        for size, digest in rows:
            part = snapshots[name][begin : (begin := begin + int(size))]
            expected = part.hex().upper() if server.kind == "sqlite" else hashlib.md5(part).hexdigest()
            assert digest == expected, f"the client reads something else: {name}"
        assert begin == len(snapshots[name]), f"the client reads less: {name}"
