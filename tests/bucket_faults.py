"""Snapshots into a bucket whose writers are killed and whose connections break: none may be lost, doubled or halved."""

import hashlib
import multiprocessing
import random
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from runner.errors import StoreError
from runner.snapshots import codecs
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import verify
from runner.snapshots.remote.remote_store import RemoteStore
from runner.snapshots.remote.services import PART
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from tests.buckets import Bucket, served_by
from tests.contract.test_stores import content, header
from tests.proxy import Proxy

NONE = codecs.find("none")
SIZES = (100, 300_000, 2 * PART + 1000)
REQUESTS = (b"PUT /", b"</CompleteMultipartUpload>", b"partNumber=2", b"HEAD /", b"POST /")
"""What stands in requests of one kind or another."""

_context = multiprocessing.get_context("fork")


class Stubborn(Proxy):
    """A proxy at which each connection that sends certain bytes meets the fault, so many times in all."""

    def __init__(self, target: int, times: int, **faults: object) -> None:
        self.times, self.again = times, faults.get("cut_at")
        super().__init__(target, **faults)

    def _meets(self, data: bytes, size: int) -> bool:
        met = super()._meets(data, size)
        if met and self.cuts < self.times:
            self.cut_at = self.again
        return met


def cut_often(bucket: Bucket, count: int, seed: int) -> dict[str, int]:
    """Writes `count` snapshots, the connections of each cut or reset in the middle of a request or before its answer.

    Every second goes through a spool. What was acknowledged must be there, byte for byte, and nothing in part.

    Returns:
        How many connections were broken, and how many snapshots were acknowledged.
    """
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    written: dict[str, str] = {}
    cuts = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            one, data = _snapshot(rng, written)
            where = (
                {"cut_at": rng.choice(REQUESTS)} if rng.random() < 0.7 else {"cut_after": rng.randrange(sum(map(len, data)))}
            )
            relay = Stubborn(bucket.port, rng.choice((1, 2, 50)), fault=rng.choice(("cut", "reset")), **where)
            store = RemoteStore(bucket.url)
            try:
                with served_by(relay.port), suppress(StoreError):
                    (SpoolStore(store, Path(folder)).put if number % 2 else store.put)(one, NONE, data)
                    acknowledged.add(one.uuid)
            finally:
                relay.close()
            cuts += relay.cuts
        with served_by(bucket.port):
            spool = SpoolStore(RemoteStore(bucket.url), Path(folder))
            spool.deliver()
            assert spool.waiting == []
            for store in map(FileStore, Path(folder).iterdir()):
                assert not list(store.list())
    return {"cuts": cuts, "acknowledged": check(bucket, acknowledged, written)}


def kill_writers(bucket: Bucket, count: int, seed: int) -> dict[str, int]:
    """Kills processes that write snapshots, one after another, each at a random moment."""
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    written: dict[str, str] = {}
    for _ in range(count):
        ours, its = _context.Pipe(duplex=False)
        process = _context.Process(target=_write, args=(bucket.url, its, rng.randrange(2**32)))
        process.start()
        its.close()
        ours.recv()
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.join()
        with suppress(EOFError):
            while ours.poll():
                said, uuid, digest = ours.recv()
                written[uuid] = digest
                if said == "acknowledged":
                    acknowledged.add(uuid)
        ours.close()
    unfinished = len(bucket.uploads())
    return {"kills": count, "acknowledged": check(bucket, acknowledged, written), "unfinished uploads": unfinished}


def _write(url: str, told: Connection, seed: int) -> None:
    rng, written, store = random.Random(seed), dict[str, str](), RemoteStore(url)
    store.prepare()
    told.send("ready")
    while True:
        one, data = _snapshot(rng, written)
        told.send(("begun", one.uuid, written[one.uuid]))
        store.put(one, NONE, data)
        told.send(("acknowledged", one.uuid, written[one.uuid]))


def _snapshot(rng: random.Random, written: dict[str, str]) -> tuple[Header, list[bytes]]:
    one = header("run")
    data = content(one, rng.randbytes(rng.choice(SIZES)))
    written[one.uuid] = hashlib.sha256(b"".join(data)).hexdigest()
    return one, data


def check(bucket: Bucket, acknowledged: set[str], written: dict[str, str]) -> int:
    """Fails if a snapshot was lost, is there twice, or in part, as Amazon's client sees it; returns how many there are."""
    found = _found(bucket)
    assert all(found[uuid] == written[uuid] for uuid in found)
    assert acknowledged <= found.keys(), f"acknowledged, and lost: {acknowledged - found.keys()}"
    with served_by(bucket.port):
        listed = {entry.header.uuid for entry in RemoteStore(bucket.url).list()}
    # What a killed process has asked for last, the server may still be at.
    assert found.keys() <= listed <= _found(bucket).keys()
    return len(acknowledged)


def _found(bucket: Bucket) -> dict[str, str]:
    """Returns the digests of the snapshots that Amazon's client sees, each of which is whole, by their UUIDs."""
    found: dict[str, str] = {}
    for key, data in bucket.objects().items():
        if key.endswith(".test"):
            continue  # of a process that was killed while it prepared itself
        uuid = verify(iter([data])).uuid
        assert uuid not in found, f"twice: {key}"
        found[uuid] = hashlib.sha256(data).hexdigest()
    return found
