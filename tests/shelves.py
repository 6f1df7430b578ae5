"""Snapshots to look after, and what a command of `veles-snapshots` has said of them."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runner.snapshots import codecs
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.stores import whole_store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry, Store
from tests.servers import Server, Servers

GZ = codecs.find("gz")
Shelf = Callable[..., subprocess.CompletedProcess[str]]
IN_ONE = ["file", "postgresql"]
"""Where what only reads is tried: that all databases read alike, the contract of the stores says."""


class Made:
    """Snapshots of two runs of one workflow, and of one of another, in a place that a person can name."""

    def __init__(self, kind: str, servers: Servers | None, folder: Path) -> None:
        self.folder = folder
        self.database: Server | None = None
        if kind != "file":
            assert servers is not None
            self.database = servers.database(kind, folder)
        self.place = ["outputs"] if self.database is None else ["--odbc", self.database.odbc]
        self.looked_in = ["--in", "outputs"] if self.database is None else self.place
        self.headers: list[Header] = []

    def store(self, name: str) -> Store:
        if self.database is None:
            return FileStore(self.folder / "outputs" / name)
        store = OdbcStore(self.database.odbc)
        store.prepare()
        return store

    def all(self) -> list[Entry]:
        return list(whole_store(self.folder / "outputs").list() if self.database is None else self.store("").list())

    def add(self, header: Header, data: bytes = b"\x80\x05N.", *, damaged: bool = False) -> str:
        digest = Digest()
        parts = [header_bytes(header), data]
        for part in parts:
            digest.update(part)
        if damaged:
            parts[1] = bytes(reversed(data))
        self.headers.append(header)
        return self.store(header.log_id).put(header, GZ, [GZ.encode(b"".join([*parts, digest.trailer()]), 1)])


def header(number: int, log: str, run: str, parent: Header | None = None, **values: Any) -> Header:
    fields: dict[str, Any] = {
        "name": f"mnist_validation_{number}",
        "prefix": "mnist",
        "workflow": "mnist",
        "workflow_class": "m:C",
        "run_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, run)),
        "log_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, log)),
        "codec": "gz",
        "epoch": number,
        "time": f"2026-11-{10 + number:02}T10:00:00.000000+00:00",
        "score": 10.0 - number,
        "metrics": {"validation": values.get("score") or 10.0 - number, "train": {"loss": 0.5}},
        "parent": parent and parent.uuid,
        "identity": log,
    }
    return Header(**(fields | values))


def with_history(made: Made) -> Made:
    """Adds two runs of one workflow, one of which was resumed, and one of another workflow."""
    first = header(1, "a", "a1")
    second = header(2, "a", "a1", first, previous={"uuid": first.uuid, "state": 1000, "stored": 100})
    resumed = header(3, "a", "a2", second, overrides=["decision.max_epochs=9"])
    branch = header(4, "b", "b1", first, score=None)
    other = header(5, "c", "c1", workflow="wine", score=0.25, metrics={"train": 0.25}, complete=True)
    for one in (first, second, resumed, branch, other):
        made.add(one)
    return made


def listed(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [row["uuid"] for row in json.loads(done.stdout)]


def plain(blocks: Iterator[bytes]) -> bytes:
    """Returns the plain stream of a snapshot."""
    data = b"".join(blocks)
    return b"".join(codecs.decode(codecs.detect(data), [data]))
