"""How files of snapshots are read, and put in order."""

from __future__ import annotations

import heapq
import os
import select
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from runner.errors import SnapshotError, SnapshotNotFoundError
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import read_start
from runner.snapshots.stores.file_errors import translated
from runner.snapshots.stores.file_system import CLOCK_STEP
from runner.snapshots.stores.store import Entry, Unreadable, ignore

BLOCK = 1 << 20
HEADER_BLOCK = 1 << 16
"""Bytes to read at a time when looking for a header."""
WRITER = 1.0
"""Seconds in which a pipe must have a writer."""


def newest_files(paths: Iterable[str], unreadable: Unreadable = ignore) -> Iterator[Entry]:
    """Yields the snapshots among files of any folders, newest first by their headers. Finding the newest reads few headers.

    A file is never older than its header says: it gets the header's time when it is written, and a later one when it is copied.
    So a header is the newest if no unread file is newer than it.
    """
    read: list[tuple[float, str, Entry]] = []
    for age, path, size in sorted(_aged(paths)):
        while read and read[0][0] <= age - CLOCK_STEP:
            yield heapq.heappop(read)[2]
        try:
            header, codec = read_start(blocks(path, HEADER_BLOCK))
            heapq.heappush(read, (-nanoseconds(header), path, Entry(path, header, size, codec.name)))
        except SnapshotNotFoundError:
            continue  # another process has just deleted it
        except SnapshotError as error:
            unreadable(path, error)
    while read:
        yield heapq.heappop(read)[2]


def _aged(paths: Iterable[str]) -> Iterator[tuple[int, str, int]]:
    """Yields the regular files, without links, each after a sort key that puts newer files first, and with its size."""
    for path in paths:
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                yield -status.st_mtime_ns, path, status.st_size


def nanoseconds(header: Header) -> int:
    """Returns the time in a header, since 1970."""
    time = datetime.fromisoformat(header.time)
    elapsed = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return elapsed // timedelta(microseconds=1) * 1000


def blocks(location: str, size: int = BLOCK) -> Iterator[bytes]:
    """Yields the content of a file, or of a pipe that somebody writes to.

    Raises:
        SnapshotNotFoundError: there is none, or it is something else.
    """
    with translated("read", location), _opened(location) as file:
        kind = os.fstat(file).st_mode
        if stat.S_ISCHR(kind):
            raise SnapshotNotFoundError(f"{location!r} is a device, not a snapshot")
        if stat.S_ISFIFO(kind) and (first := _beginning(file, location, size)):
            yield first
        while block := os.read(file, size):
            yield block


@contextmanager
def _opened(location: str) -> Iterator[int]:
    """Opens a file; to open a pipe would wait for its writer."""
    file = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _beginning(pipe: int, location: str, size: int) -> bytes:
    """Returns what comes first from a pipe; reading waits for its writer from then on."""
    select.select([pipe], [], [], WRITER)
    first = b""
    with suppress(BlockingIOError):  # a writer is there, and has written nothing yet
        first = os.read(pipe, size)
        if not first:
            raise SnapshotNotFoundError(f"{location!r} is a pipe that nobody writes to, not a snapshot")
    os.set_blocking(pipe, True)
    return first
