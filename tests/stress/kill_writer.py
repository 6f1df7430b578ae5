"""Kills processes that write snapshots, each at a random moment, and restores the latest after each.

`python -m tests.stress.kill_writer SEED COUNT` prints how many snapshots were acknowledged, how many kills left one that cannot
be read, and how many times one that was acknowledged was lost; the exit code is 1 if any was. With `control` behind it, the
snapshots are written in place, without the steps that make them durable: what is printed then is not zero.
"""

import logging
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from itertools import count as numbers
from typing import ClassVar

from runner.errors import SnapshotError
from runner.snapshots import codecs
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.header import Header
from runner.snapshots.restore import restore_latest
from runner.snapshots.store import Store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.trust import Policy
from tests.workflows import stored

POLICY = Policy(trusted=["tests", "__main__"])
LONGEST = 0.016
"""Seconds that a writer lives at most: several snapshots' time."""
STATE = 20_000
"""Bytes of a state."""
WRITERS = 30
"""Writers that follow one another in a folder."""
GENERATION = struct.Struct("<Q")


class InPlaceStore(FileStore):
    """The control: it writes a snapshot under its name, over the one before, as a plain `open(path, "wb")` does."""

    piece: ClassVar[int] = 4096

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        path = self.directory / f"current.5{codec.extension}"
        with path.open("wb", buffering=self.piece) as file:
            for member in members:
                data = bytes(member)
                for begin in range(0, len(data), self.piece):
                    file.write(data[begin : begin + self.piece])
        return str(path)


def state(generation: int) -> bytes:
    return random.Random(generation).randbytes(STATE)


def write(store: Store, codec: str, first: int, acknowledge: int) -> None:
    """Writes one snapshot after another, until it is killed."""
    workflow, holder, snapshotter = stored(None, store, compression=codec, blocking=True, keep_last=2)
    os.write(acknowledge, GENERATION.pack(first - 1))
    for generation in numbers(first):
        holder.value, holder.runs = state(generation), generation
        snapshotter.export()
        os.write(acknowledge, GENERATION.pack(generation))


def warm_up() -> None:
    """Does what the first snapshot of a process does once, so that a writer need not."""
    with tempfile.TemporaryDirectory() as folder:
        for codec in CODECS:
            stored(b"", FileStore(folder), compression=codec, blocking=True)[2].export()


def killed_writer(store: Store, codec: str, first: int, delay: float) -> int:
    """Lets a writer live so long; returns the last generation that it acknowledged."""
    read, acknowledge = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            write(store, codec, first, acknowledge)
        finally:
            os._exit(1)  # it has failed: it does not end by itself
    os.close(acknowledge)
    data = os.read(read, GENERATION.size)  # it begins
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    while block := os.read(read, 1 << 16):
        data += block
    os.close(read)
    if os.WIFEXITED(status):
        raise RuntimeError(f"a writer failed, codec {codec}")
    return GENERATION.unpack(data[-GENERATION.size :])[0]


def kill(seed: int, count: int, cls: type[FileStore] = FileStore) -> Counter[str]:
    rng = random.Random(seed)
    found: Counter[str] = Counter(kills=0, acknowledged=0, unreadable=0, lost=0)
    warm_up()
    while found["kills"] < count:
        codec = rng.choice(list(CODECS))
        with tempfile.TemporaryDirectory() as folder:
            store, last = cls(folder), 0
            for _ in range(min(WRITERS, count - found["kills"])):
                acknowledged = killed_writer(store, codec, last + 1, rng.uniform(0, LONGEST))
                found["kills"] += 1
                found["acknowledged"] += acknowledged - last
                last = check(store, acknowledged, found)
    return found


def check(store: FileStore, acknowledged: int, found: Counter[str]) -> int:
    """Restores the latest; returns its generation."""
    unreadable: list[str] = []
    for path in store.directory.glob("[!.]*.pickle*"):
        try:
            codec = codecs.detect(path.read_bytes())
            b"".join(codecs.decode(codec, [path.read_bytes()]))
        except SnapshotError:
            unreadable.append(path.name)
    found["unreadable"] += bool(unreadable)
    latest = restore_latest([store], lambda header: True, POLICY)
    generation = latest.workflow["holder"].runs if latest else 0
    intact = latest is None or latest.workflow["holder"].value == state(generation)
    found["lost"] += generation < acknowledged or not intact
    return max(generation, acknowledged)


def main(seed: int, count: int, control: bool) -> int:
    logging.disable()
    found = kill(seed, count, InPlaceStore if control else FileStore)
    print(dict(found))
    return 1 if found["unreadable"] or found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["control"]))
