"""Kills processes that write snapshots, each at a random moment of a save, and restores the latest after each.

A writer is forked from a process that has saved before. It acknowledges each snapshot through a pipe; after a random number of
them it is killed, within about the time that a save takes. The folders lie in memory where the machine has a place for that:
what a killed process has written is the system's, and a disk would only make the test slower.

`python -m tests.stress.kill_writer SEED COUNT` prints how many snapshots were acknowledged, how many kills left one that cannot
be read, and how many times one that was acknowledged was lost; the exit code is 1 if any was. With `control` behind it, the
snapshots are written in place, without the steps that make them durable: what is printed then is not zero.
"""

import gc
import logging
import os
import random
import signal
import struct
import sys
import tempfile
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterable
from itertools import count as numbers
from pathlib import Path
from typing import ClassVar

from runner.errors import SnapshotError
from runner.snapshots import codecs
from runner.snapshots.capture import staging
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.restoring.restore import restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store
from tests.workflows import Holder, stored

POLICY = Policy("full")
LONGEST = 1.2
"""Of the time that the last save took, how long a writer lives at most after its last acknowledgement."""
MOST_SAVES = 3
"""Snapshots that a writer has acknowledged at most when its end is near."""
STATE = 4_000
"""Bytes of a state."""
CHUNK = 6_000
"""Bytes of staging chunks, so that a snapshot is written in several pieces."""
WRITERS = 30
"""Writers that follow one another in a folder."""
LOG_ID = str(uuid.UUID(int=0))
"""All writers belong to one run: each removes the old snapshots of those before it."""
LEVELS = {"bz2": 1}
"""The level of a codec whose own takes long for a small state."""
MEMORY = Path("/dev/shm")
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
    holder, snapshotter = writer(store, codec)
    os.write(acknowledge, GENERATION.pack(first - 1))
    for generation in numbers(first):
        holder.value, holder.runs = state(generation), generation
        snapshotter.export()
        os.write(acknowledge, GENERATION.pack(generation))


def writer(store: Store, codec: str) -> tuple[Holder, Snapshotter]:
    settings = {"compression": codec, "compression_level": LEVELS.get(codec), "workers": 1, "blocking": True, "keep_last": 2}
    _, holder, snapshotter = stored(None, store, **settings)
    snapshotter.log_id = LOG_ID
    return holder, snapshotter


def warm_up() -> dict[str, float]:
    """Does what the first snapshot of a process does once, so that a writer need not; returns how long a save takes."""
    seconds = {}
    with folder_in_memory() as folder:
        for codec in CODECS:
            holder, snapshotter = writer(FileStore(folder), codec)
            holder.value = state(0)
            for _ in range(3):
                began = time.monotonic()
                snapshotter.export()
                seconds[codec] = time.monotonic() - began
    gc.freeze()  # a collection would copy all that is shared with this process
    return seconds


def folder_in_memory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def killed_writer(store: Store, codec: str, first: int, rng: random.Random, seconds: dict[str, float]) -> int:
    """Kills a writer within a save, after some; returns the last generation that it acknowledged."""
    read, acknowledge = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries, which the writer has no use for
        process = os.fork()
    if process == 0:
        try:
            write(store, codec, first, acknowledge)
        finally:
            os._exit(1)  # it has failed: it does not end by itself
    os.close(acknowledge)
    data = os.read(read, GENERATION.size)  # it begins
    for _ in range(rng.randint(0, MOST_SAVES)):
        began = time.monotonic()
        data += os.read(read, GENERATION.size)
        seconds[codec] = time.monotonic() - began
    time.sleep(rng.uniform(0, LONGEST * seconds[codec]))
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
    staging.CHUNK = CHUNK
    found: Counter[str] = Counter(kills=0, acknowledged=0, unreadable=0, lost=0)
    seconds = warm_up()
    while found["kills"] < count:
        codec = rng.choice(list(CODECS))
        with folder_in_memory() as folder:
            store, last = cls(folder), 0
            for _ in range(min(WRITERS, count - found["kills"])):
                acknowledged = killed_writer(store, codec, last + 1, rng, seconds)
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
