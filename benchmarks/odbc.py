"""Snapshots in databases against plain inserts: throughput, memory of the client, and listing.

    OMP_NUM_THREADS=1 python -m benchmarks.odbc [--sizes 1 20 105 1050] [--systems sqlite mariadb postgresql] [--rounds 3]

States are float32 weights, normal with standard deviation 0.05. MariaDB and PostgreSQL run on this machine with their default
settings, in new folders on the disk of the system's temporary folder. Each snapshot is written by the store from encoded
chunks of 4 MiB, as a run's background writer does, and read back and compared; the plain inserts put the same bytes with
pyodbc in rows of the same size, in one transaction. Both run in turns, and figures are medians. Memory is by how much that of
a fresh process, which holds the encoded snapshot already, grows while it writes and reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pyodbc
import torch

from benchmarks.measure import in_turns, print_table, seconds, verdict
from runner.memory import keep_freed
from runner.snapshots import codecs
from runner.snapshots.capture.staging import CHUNK
from runner.snapshots.codecs import Buffer
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW, in_rows
from tests import servers

LISTED, LISTED_SIZE = 10_000, 64 << 10
BLOBS = {"sqlite": "blob", "mariadb": "longblob", "postgresql": "bytea"}


def header(**values: object) -> Header:
    """Returns a header as large as that of a real run."""
    fields = {"prefix": "mnist", "workflow": "mnist", "workflow_class": "runner.nn:StandardWorkflow", "codec": "none"}
    run = str(uuid.uuid4())
    config = {f"section{number}": {f"key{key}": key / 7 for key in range(6)} for number in range(10)}
    code = {f"runner.module{number}": "0" * 64 for number in range(12)}
    return Header(
        name="mnist_validation_1.48", **(fields | {"run_id": run, "log_id": run, "config": config, "code": code} | values)
    )


def members(megabytes: int, codec: str) -> list[bytes]:
    """Returns the encoded chunks of a snapshot of that many megabytes of weights."""
    torch.manual_seed(1)
    state = (torch.randn(megabytes * 250_000) * 0.05).numpy().tobytes()
    digest, plain = Digest(), header_bytes(header()) + state
    digest.update(plain)
    plain += digest.trailer()
    row = codecs.find(codec)
    return [row.encode(plain[begin : begin + CHUNK], row.default_level) for begin in range(0, len(plain), CHUNK)]


def plain_insert(odbc: str, rows: list[bytes]) -> None:
    """Inserts the rows in one transaction."""
    with closing(pyodbc.connect(odbc)) as connection:
        for number, row in enumerate(rows):
            connection.execute("INSERT INTO plain (number, data) VALUES (?, ?)", number, row)
        connection.commit()


def measure(server: servers.Server, megabytes: int, codec: str, rounds: int) -> list[object]:
    """Returns a row of the table."""
    store, encoded = OdbcStore(server.odbc), members(megabytes, codec)
    store.prepare()
    size, rows = sum(map(len, encoded)), [bytes(row) for row in in_rows(encoded, ROW)]
    location = store.put(header(), codecs.find(codec), encoded)
    blocks: list[bytes] = []
    read = seconds(lambda: blocks.extend(store.open(location)))
    assert b"".join(blocks) == b"".join(encoded)
    blocks.clear()
    store.delete(location)
    servers.execute(server, f"CREATE TABLE plain (number integer, data {BLOBS[server.kind]})")

    def put() -> None:
        store.put(header(), codecs.find(codec), encoded)

    def insert() -> None:
        plain_insert(server.odbc, rows)

    times = in_turns({"store": put, "plain": insert}, rounds)
    servers.execute(server, "DROP TABLE plain", "DROP TABLE veles", "DROP TABLE veles_chunks")
    memory = extra_memory(server, megabytes, codec)
    ratio = times["plain"] / times["store"]
    figures = [f"{size / 1e6 / value:.0f}" for value in (times["store"], times["plain"], read)]
    row = [server.kind, f"{megabytes} MB", codec, *figures, verdict(ratio, 0.8, at_least=True), verdict(memory / 1e6, 64)]
    print(*row, file=sys.stderr, sep=" | ", flush=True)
    return row


def extra_memory(server: servers.Server, megabytes: int, codec: str) -> int:
    """Returns by how many bytes the memory of a fresh process grows while it writes and reads one snapshot."""
    command = [sys.executable, "-m", "benchmarks.odbc", "--memory", server.odbc, str(megabytes), codec]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout))


def memory_of_one(odbc: str, megabytes: int, codec: str) -> int:
    encoded = members(megabytes, codec)
    store = OdbcStore(odbc)
    store.prepare()
    with closing(pyodbc.connect(odbc)):
        pass  # the driver itself is loaded
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = resident()
    location = store.put(header(), codecs.find(codec), _each(encoded))
    for _ in store.open(location):
        pass
    store.delete(location)
    return peak() - before


def rounds_of(megabytes: int, rounds: int) -> int:
    """Returns how often a size is measured: small ones take milliseconds, which vary much, the largest a minute."""
    return 7 * rounds if megabytes == 1 else rounds if megabytes < 1000 else 1


def _each(encoded: list[bytes]) -> Iterator[Buffer]:
    yield from encoded


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def resident() -> int:
    return _status("VmRSS")


def peak() -> int:
    return _status("VmHWM")


def measure_list(server: servers.Server, rounds: int) -> list[object]:
    """Returns a row of the table of lists."""
    store, data = OdbcStore(server.odbc), os.urandom(LISTED_SIZE)
    store.prepare()
    # The store opens a connection for each snapshot; one for all is enough to fill a table.
    with store._session("fill", 0) as session:
        for _ in range(LISTED):
            one = header()
            name, _ = store._reserve(session, one)
            session.write(one, codecs.find("none"), name, [data])
            session.connection.commit()  # the next one is reserved in a transaction of its own
    times = in_turns({"list": lambda: _listed(store)}, rounds)
    bytes_of_headers = LISTED * len(header().to_json())
    servers.execute(server, "DROP TABLE veles", "DROP TABLE veles_chunks")
    return [server.kind, f"{LISTED} x {LISTED_SIZE >> 10} KiB", f"{bytes_of_headers / 1e6:.0f} MB", verdict(times["list"], 1.0)]


def _listed(store: OdbcStore) -> None:
    assert len(list(store.list())) == LISTED


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 20, 105, 1050], help="megabytes of state")
    parser.add_argument("--systems", nargs="+", default=list(servers.KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        odbc, megabytes, codec = arguments.memory
        print(memory_of_one(odbc, int(megabytes), codec))
        return
    keep_freed()  # as a run's writer does
    with ExitStack() as stack:
        stack.enter_context(servers.odbc_settings())
        running = servers.Servers(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veles-benchmark-")))
        databases = [running.database(kind, folder) for kind in arguments.systems]
        cases = [(one, size, codec) for size in arguments.sizes for codec in ("none", "gz") for one in databases]
        rows = [measure(*case, rounds_of(case[1], arguments.rounds)) for case in cases]
        columns = ("database", "state", "codec", "store MB/s", "plain MB/s", "read MB/s", "store / plain", "client memory, MB")
        print_table("Snapshots in databases", columns, rows)
        columns = ("database", "snapshots", "headers", "seconds to list")
        print_table("Listing", columns, [measure_list(one, arguments.rounds) for one in databases])


if __name__ == "__main__":
    main()
