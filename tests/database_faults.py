"""Snapshots into a server whose connections break at random moments: none may be lost, doubled or halved."""

import os
import random
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from runner.errors import StoreError
from runner.snapshots import codecs
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from tests.contract.test_stores import content, header
from tests.proxy import proxy
from tests.servers import Server, execute, query

NONE = codecs.find("none")
SIZES = (100, 300_000, ROW + 1000)


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


def check(server: Server, acknowledged: dict[str, bytes], written: dict[str, bytes]) -> None:
    """Fails if a snapshot was lost, is there twice, or in part; empties the table."""
    store = OdbcStore(server.odbc)
    found: dict[str, bytes] = {}
    for entry in store.list():
        assert entry.header.uuid not in found, f"twice: {entry.location}"
        found[entry.header.uuid] = b"".join(store.open(entry.location))
    for uuid, data in found.items():
        assert data == written[uuid], f"not what was written: {uuid}"
    lost = {uuid: len(data) for uuid, data in acknowledged.items() if uuid not in found}
    assert not lost, f"acknowledged, and lost: {lost}"
    orphans = query(
        server,
        "SELECT COUNT(*) FROM veles_chunks c LEFT JOIN veles m ON m.id = c.id AND m.name = c.name WHERE m.name IS NULL",
    )
    assert orphans == [(0,)]
    execute(server, "DELETE FROM veles", "DELETE FROM veles_chunks")
