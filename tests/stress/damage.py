"""Damages snapshots and restores them: each is refused with the error that is meant for it, and the one before is taken.

`python -m tests.stress.damage SEED COUNT` prints how many were refused, and how many were read with the content that they had
before, as when a bit is turned that means nothing. It ends with a line and exit code 1 at the first that is read with another
content, that raises another error, or that takes too long or too much memory.
"""

import logging
import random
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.errors import SnapshotDamagedError, SnapshotMismatchError, SnapshotNotFoundError, SnapshotRefusedError
from runner.snapshots.codecs import CODECS
from runner.snapshots.odbc import odbc_store as odbc
from runner.snapshots.odbc import session
from runner.snapshots.restoring.restore import Restored, restore_latest, restore_with
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store
from tests.servers import odbc_settings
from tests.stress.kill_writer import folder_in_memory
from tests.workflows import stored

RESTRICTED = Policy(trusted=["tests"])
FULL = Policy("full")
TYPED = (SnapshotDamagedError, SnapshotMismatchError, SnapshotNotFoundError, SnapshotRefusedError)
STATE = 3_000
"""Bytes of a state: small, so that every part is hit."""
MEMBER = 2_500
"""Bytes of the plain stream in a member, as small for the same reason."""
ROW = 2_000
"""Bytes in a row of the database."""
IN_DATABASE = 0.2
"""Of all snapshots, how many are damaged in a database."""
BY_RESTRICTED = 0.1
"""Of all restores, how many use the restricted unpickler. Only what has its digest reaches it, and the other is fast."""
NAMED = 0.25
"""Of all snapshots, how many are also restored by name."""
HANG = 20.0
"""Seconds of processor time that a restore may take."""
MEMORY = 256 << 20
"""Bytes that the process may have taken in the end."""

MANIFESTS = (None, b"", b"{}", b'{"veles-run chunks":-1}', b'{"veles-run chunks":"x"}', b'{"veles-run chunks":1e99}')
"""What a row may say of its parts that cannot be."""

Damage = Callable[[random.Random, bytes], bytes]


class Failure(AssertionError):
    """A damaged snapshot that was not refused as it should be."""


def flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((rng.randrange(len(data)), max(0, len(data) - rng.randint(1, 64))))]


def cut(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randrange(len(data))
    return begin, min(len(data), begin + rng.choice((1, 16, 512, 1024)))


def zero(rng: random.Random, data: bytes) -> bytes:
    begin, end = cut(rng, data)
    return data[:begin] + bytes(end - begin) + data[end:]


def remove(rng: random.Random, data: bytes) -> bytes:
    begin, end = cut(rng, data)
    return data[:begin] + data[end:]


def repeat(rng: random.Random, data: bytes) -> bytes:
    begin, end = cut(rng, data)
    return data[:end] + data[begin:end] * rng.randint(1, 3) + data[end:]


def swap(rng: random.Random, data: bytes) -> bytes:
    size = min(rng.choice((1, 64, 512)), len(data) // 2)
    first = rng.randrange(len(data) - 2 * size + 1)
    second = rng.randrange(first + size, len(data) - size + 1)
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice(
        (b"\0", bytes(512), rng.randbytes(rng.randint(1, 100)), data, data[: rng.randrange(len(data)) + 1])
    )


def prepend(rng: random.Random, data: bytes) -> bytes:
    return rng.choice((b"\0", bytes(512), rng.randbytes(rng.randint(1, 100)), data[: rng.randrange(len(data)) + 1])) + data


DAMAGES: tuple[Damage, ...] = (flip, flip, flip, truncate, zero, remove, repeat, swap, append, prepend)


class Samples:
    """Good snapshots: an older one and a newer one of the same run, with each codec."""

    def __init__(self, folder: Path) -> None:
        store = FileStore(folder)
        workflow, self.holder, snapshotter = stored(random.Random(0).randbytes(STATE), store, compression="none", blocking=True)
        for runs in (1, 2):
            self.holder.runs = runs
            snapshotter.export()
        self.newer, self.older = list(store.list())
        plain = {entry.header.uuid: b"".join(store.open(entry.location)) for entry in (self.newer, self.older)}
        self.good = {codec: self.members(codec, plain[self.newer.header.uuid]) for codec in CODECS}
        self.before = plain[self.older.header.uuid]

    @staticmethod
    def members(codec: str, plain: bytes) -> list[bytes]:
        row = CODECS[codec]
        parts = [plain[begin : begin + MEMBER] for begin in range(0, len(plain), MEMBER)]
        return [bytes(row.encode(part, row.default_level)) for part in parts]

    def check(self, restored: Restored) -> str:
        """Says which of the two it is; a third does not exist."""
        value, runs = restored.workflow["holder"].value, restored.workflow["holder"].runs
        expected = {1: self.older.header, 2: self.newer.header}
        if value != self.holder.value or restored.header != expected.get(runs):
            raise Failure("it was restored with another content")
        return "read" if runs == 2 else "refused"


def damaged(rng: random.Random, members: list[bytes]) -> bytes:
    """Damages an encoded snapshot: within it, or in the order and number of its members."""
    if rng.random() < 0.2:
        parts = list(members)
        index, other = rng.sample(range(len(parts)), 2)
        rng.choice(
            (
                lambda: parts.pop(index),
                lambda: parts.insert(index, parts[other]),
                lambda: parts.__setitem__(slice(None), [*parts[index:], *parts[:index]]),
                lambda: parts.__setitem__(index, parts[other]),
            )
        )()
        return b"".join(parts)
    data = b"".join(members)
    for _ in range(rng.choice((1, 1, 1, 2))):
        data = rng.choice(DAMAGES)(rng, data) or b"\0"
    return data


class Files:
    """Damages a file next to a good one."""

    def __init__(self, samples: Samples, folder: Path) -> None:
        self.samples = samples
        self.store = FileStore(folder)
        folder.mkdir()
        (folder / "older.5.pickle").write_bytes(samples.before)

    def damage(self, rng: random.Random) -> tuple[Store, str]:
        codec = rng.choice(list(CODECS))
        path = self.store.directory / f"newer.5{CODECS[codec].extension}"
        for other in self.store.directory.glob("newer*"):
            other.unlink()
        path.write_bytes(damaged(rng, self.samples.good[codec]))
        return self.store, str(path)


class Rows:
    """Damages a snapshot in a SQLite database, which is in several rows, next to a good one."""

    def __init__(self, samples: Samples, path: Path) -> None:
        self.store = odbc.OdbcStore(f"DRIVER={{SQLite3}};Database={path}")
        self.store.prepare()
        self.store.put(samples.older.header, CODECS["none"], [samples.before])
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA synchronous = OFF")
        self.good: dict[str, tuple[str, dict[str, list[Any]]]] = {}
        for codec, members in samples.good.items():
            location = self.store.put(samples.newer.header, CODECS[codec], members)
            self.name = location.rpartition("&")[2]
            query = "SELECT * FROM {} WHERE name = ?"
            rows = {table: self.database.execute(query.format(table), [self.name]).fetchall() for table in self.tables}
            self.good[codec] = location, rows
            self._clear()

    tables = {"veles": 6, "veles_chunks": 3}
    """The tables, and which column of theirs has the bytes."""

    def _clear(self) -> None:
        for table in self.tables:
            self.database.execute(f"DELETE FROM {table} WHERE name = ?", [self.name])

    def damage(self, rng: random.Random) -> tuple[Store, str]:
        location, tables = self.good[rng.choice(list(CODECS))]
        rows = {table: [list(row) for row in rows] for table, rows in tables.items()}
        table, data = rng.choices(list(self.tables.items()), (1, 3))[0]
        chosen = rng.randrange(len(rows[table]))
        row = rows[table][chosen]
        kind = rng.random()
        if kind < 0.8:
            row[data] = rng.choice(DAMAGES)(rng, row[data])
        elif kind < 0.9:
            del rows[table][chosen]
        elif table == "veles_chunks":
            other = rng.choice(rows[table])
            row[data], other[data] = other[data], row[data]
        else:
            row[data] = rng.choice((*MANIFESTS, rows["veles_chunks"][-1][self.tables["veles_chunks"]]))
        self.database.execute("BEGIN")
        self._clear()
        for name, values in rows.items():
            for one in values:
                self.database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(one))})", one)
        self.database.execute("COMMIT")
        return self.store, location


def run(samples: Samples, place: Any, rng: random.Random) -> str:
    store, location = place.damage(rng)
    policy = RESTRICTED if rng.random() < BY_RESTRICTED else FULL
    latest = restore_latest([store], lambda header: True, policy)
    if latest is None:
        raise Failure("the one before it was not taken")
    outcome = samples.check(latest)
    if rng.random() < NAMED:
        try:
            named = samples.check(restore_with(location, policy))
        except TYPED:
            named = "refused"
        # A row of its own has a copy of the header: where that is damaged, latest takes the one before, and this is read.
        passed_over = isinstance(place, Rows) and outcome == "refused"
        if outcome != named and not passed_over:
            raise Failure("latest and the named one differ")
    return outcome


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes; getrusage would count the one that started it."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def on_hang(number: int, frame: object) -> None:
    raise Failure(f"a restore took more than {HANG} s")


def main(seed: int, count: int) -> int:
    logging.disable()
    rng, before = random.Random(seed), peak_memory()
    session.ROW = ROW
    signal.signal(signal.SIGPROF, on_hang)
    found: Counter[str] = Counter(refused=0, read=0)
    with folder_in_memory() as name, odbc_settings():
        folder = Path(name)
        samples = Samples(folder / "samples")
        places = Files(samples, folder / "files"), Rows(samples, folder / "snapshots.db")
        for number in range(count):
            signal.setitimer(signal.ITIMER_PROF, HANG)
            place = places[rng.random() < IN_DATABASE]
            try:
                found[run(samples, place, rng)] += 1
            except Exception as error:
                print(f"seed {seed}, snapshot {number}, {type(place).__name__}: {type(error).__name__}: {error}")
                raise
    if (used := peak_memory() - before) > MEMORY:
        raise Failure(f"the process took {used} bytes")
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
