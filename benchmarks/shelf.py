"""veles-snapshots: its start, lists of many snapshots, and diff and cp of large ones.

    OMP_NUM_THREADS=1 python -m benchmarks.shelf [--megabytes 1000] [--files 10000] [--rows 100000] [--systems sqlite ...]
        [--bucket]

Each command is a process of its own: its time is that of the whole process, and its memory the most that it had. The files of
the list have newer times than their headers, as after a copy, so that all must be read. The large snapshots hold float32
weights, normal with standard deviation 0.05, of which all differ. Reading and decoding is what `verify` does to both of them
without a process. A plain copy of a file is read, written and synced; one into a database is an insert of the same bytes with
pyodbc in rows of the same size, in one transaction; one into a bucket is boto3's `upload_file`. The bucket's server is that of
the tests, in memory and in Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyodbc

from benchmarks.measure import print_table, seconds, verdict
from benchmarks.odbc import BLOBS, header, plain_insert
from benchmarks.snapshots.states import make_workflow
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.format.reader import verify
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW, _facts, in_rows, sql_time
from runner.snapshots.stores.file_reading import blocks
from tests import servers
from tests.buckets import Bucket, new_bucket, s3

FOLDERS = 100
MEASURED = """
import atexit, os, sys
peak = lambda: open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
tell = lambda: print(peak(), sum(os.times()[:2]), file=sys.stderr)
atexit.register(tell)
from runner.cli.shelf.app import main
main()
"""
LISTS = {"": ("ls", "--all"), ", as JSON": ("ls", "--all", "--json")}


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, those of the processor, and the most MB that it had."""

    seconds: float
    processor: float
    memory: float


def command(*arguments: str | Path, code: int = 0) -> Cost:
    """Runs a command."""
    began = time.perf_counter()
    texts = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(texts, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    spent = time.perf_counter() - began
    assert done.returncode == code, done.stderr
    peak, processor = done.stderr.split()[-2:]
    return Cost(spent, float(processor), int(peak) / 1024)


def best(*arguments: str | Path, rounds: int, code: int = 0) -> Cost:
    """Runs a command several times; returns the least seconds and the most MB."""
    found = [command(*arguments, code=code) for _ in range(rounds)]
    return Cost(min(one.seconds for one in found), min(one.processor for one in found), max(one.memory for one in found))


def numbered(number: int) -> Header:
    """Returns a header of a history of many runs, each of a hundred snapshots."""
    day, second = divmod(number, 86_400)
    moment = f"2026-{1 + day:02}-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000000+00:00"
    run = str(uuid.UUID(int=number // 100))
    return replace(header(time=moment, epoch=number % 100, score=float(number % 97)), run_id=run, log_id=run)


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        one, digest = numbered(number), Digest()
        digest.update(begin := header_bytes(one) + b"\x80\x05N.")
        path = folder / f"run{number % FOLDERS}" / f"mnist_{number}.5.pickle"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(begin + digest.trailer())


def write_rows(odbc: str, count: int) -> None:
    store = OdbcStore(odbc)
    store.prepare()
    with store._session("fill", 0) as session:
        sql = session.sql
    headers = [numbered(number) for number in range(count)]
    with closing(pyodbc.connect(odbc)) as connection:
        cursor = connection.cursor()
        cursor.executemany(
            sql.insert_header,
            [(one.run_id, str(at), 0, one.to_json().encode(), *_facts(one)) for at, one in enumerate(headers)],
        )
        cursor.executemany(
            sql.insert,
            [(sql_time(one), one.run_id, one.log_id, "mnist", str(at), "", bytes(1000)) for at, one in enumerate(headers)],
        )
        connection.commit()


def listing(folder: Path, files: int, rows: int, databases: Sequence[servers.Server], rounds: int) -> None:
    (folder / "many").mkdir()
    write_files(folder / "many", files)
    table = [_listed("--help", ["--help"], 0.3, rounds)]
    for form, typed in LISTS.items():
        table.append(_listed(f"{files:,} files, all of them{form}", [*typed, folder / "many"], 1, rounds))
    table.append(_listed(f"{files:,} files, the first page", ["ls", folder / "many"], 1, rounds))
    for database in databases:
        place = ["--odbc", database.odbc]
        write_rows(database.odbc, files)
        if database.kind == "postgresql":
            servers.execute(database, "ANALYZE")  # as it does by itself within a minute
        for form, typed in LISTS.items():
            table.append(_listed(f"{files:,} rows of {database.kind}, all of them{form}", [*typed, *place], 1, rounds))
        servers.execute(database, "DROP TABLE veles", "DROP TABLE veles_chunks")
        write_rows(database.odbc, rows)
        table.append(_listed(f"{rows:,} rows of {database.kind}, the first page", ["ls", *place], 1, rounds))
        servers.execute(database, "DROP TABLE veles", "DROP TABLE veles_chunks")
    print_table("Listing", ("what", "s", "s of the processor", "MB"), table)


def _listed(what: str, arguments: Sequence[str | Path], target: float, rounds: int) -> list[str]:
    cost = best(*arguments, rounds=rounds)
    return [what, verdict(cost.seconds, target), f"{cost.processor:.2f}", verdict(cost.memory, 100)]


def large(folder: Path, megabytes: int, codec: str) -> list[str]:
    """Writes two snapshots whose weights all differ."""
    workflow, snapshotter = make_workflow(megabytes, folder, compression=codec, blocking=True)
    found = []
    for _ in range(2):
        snapshotter.export()
        found.append(str(snapshotter.last_location))
        for weights in workflow["weights"].weights:
            weights.mul_(1.01)
    return found


def differences(folder: Path, megabytes: int, codec: str, rounds: int) -> list[object]:
    pair = large(folder / codec, megabytes, codec)
    start = best("--help", rounds=rounds).seconds
    read = min(seconds(lambda: [verify(blocks(path)) for path in pair]) for _ in range(rounds))
    cost = best("diff", *pair, code=1, rounds=rounds)
    return [codec, f"{read:.1f}", f"{cost.seconds:.1f}", verdict(cost.seconds - start - read, 3), f"{cost.memory:.0f}"]


def copied_plainly(source: str, target: Path) -> None:
    with open(source, "rb") as read, open(target, "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
    target.unlink()


@dataclass(frozen=True)
class Target:
    """Where a copy goes.

    Attributes:
        place: how `cp` is told.
        plain: copies a file there as plainly as its own client does.
        clear: removes all copies.
    """

    place: Sequence[str]
    plain: Callable[[str], None]
    clear: Callable[[], None]


def to_files(folder: Path) -> Target:
    return Target(
        ["--to", str(folder / "copy")],
        lambda source: copied_plainly(source, folder / "plain"),
        lambda: shutil.rmtree(folder / "copy"),
    )


def to_database(database: servers.Server) -> Target:
    def plain(source: str) -> None:
        servers.execute(database, f"CREATE TABLE plain (number integer, data {BLOBS[database.kind]})")
        plain_insert(database.odbc, [bytes(row) for row in in_rows(blocks(source), ROW)])

    tables = ("plain", "veles", "veles_chunks")
    return Target(
        ["--to-odbc", database.odbc], plain, lambda: servers.execute(database, *(f"DROP TABLE {one}" for one in tables))
    )


def to_bucket(bucket: Bucket) -> Target:
    def clear() -> None:
        for page in bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name):
            for one in page.get("Contents", []):
                bucket.client.delete_object(Bucket=bucket.name, Key=one["Key"])

    os.environ.update(bucket.environment())
    return Target(["--to", bucket.url], lambda source: bucket.client.upload_file(source, bucket.name, "plain"), clear)


def copies(source: str, targets: Mapping[str, Target], rounds: int) -> list[list[object]]:
    size, table = Path(source).stat().st_size, []
    for kind, target in targets.items():
        memory = [0.0]

        def ours(target: Target = target, memory: list[float] = memory) -> None:
            memory[0] = max(memory[0], command("cp", source, *target.place).memory)

        def plain(target: Target = target) -> None:
            target.plain(source)

        times: dict[str, list[float]] = {"plain": [], "cp": []}
        for _ in range(rounds):
            times["plain"].append(seconds(plain))
            times["cp"].append(seconds(ours))
            target.clear()
        least = {name: min(values) for name, values in times.items()}
        ratio = verdict(least["cp"] / least["plain"], 1.2)
        table.append(
            [f"files to {kind}", f"{size / 1e6:.0f}", f"{least['plain']:.1f}", f"{least['cp']:.1f}", ratio, f"{memory[0]:.0f}"]
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--systems", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--bucket", action="store_true", help="copy to a bucket, too, whose server keeps it in memory")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        stack.enter_context(servers.odbc_settings())
        running = servers.Servers(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veles-benchmark-")))
        databases = [running.database(kind, folder) for kind in arguments.systems]
        listing(folder, arguments.files, arguments.rows, databases, arguments.rounds)
        if arguments.megabytes:
            rows = [differences(folder, arguments.megabytes, codec, arguments.rounds) for codec in ("none", "gz")]
            columns = ("codec", "read and decode s", "diff s", "s beyond that", "MB")
            print_table(f"diff of two of {arguments.megabytes} MB", columns, rows)
            source = next(map(str, (folder / "gz").glob("*.pickle.gz")))
            columns = ("cp", "MB encoded", "plain copy s", "cp s", "cp / plain copy", "MB of memory")
            targets = {"files": to_files(folder)} | {one.kind: to_database(one) for one in databases}
            if arguments.bucket:
                targets["a bucket of S3"] = to_bucket(new_bucket(stack.enter_context(s3())))
            print_table(f"cp of one of {arguments.megabytes} MB", columns, copies(source, targets, arguments.rounds))


if __name__ == "__main__":
    main()
