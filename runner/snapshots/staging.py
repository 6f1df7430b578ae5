"""The memory between the run and the writer: what a pickler writes is copied into chunks of a bounded pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from runner.snapshots.limits import memory

CHUNK = 4 << 20
"""Bytes in a chunk; each becomes a member of the codec's format."""


class StagingPool:
    """Chunk buffers that are used again, so that their memory stays warm.

    Args:
        limit: bytes in all; at least four chunks are made, whatever the limit.
    """

    def __init__(self, limit: int) -> None:
        self.size = max(4, limit // CHUNK)
        self._made = 0
        self._free: list[bytearray] = []
        self._changed = threading.Condition()

    def take(self, on_empty: Callable[[], object]) -> bytearray:
        """Returns a buffer; if all are in use, calls `on_empty` and waits for one."""
        with self._changed:
            if not self._free and self._made < self.size:
                self._made += 1
                return bytearray(CHUNK)
            if self._free:
                return self._free.pop()
        on_empty()
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            return self._free.pop()

    def give(self, buffer: bytearray) -> None:
        """Takes a buffer back."""
        with self._changed:
            self._free.append(buffer)
            self._changed.notify()


class Staging:
    """What a pickler writes to: it copies everything into chunks and passes each full one on.

    Args:
        pool: where the buffers come from.
        pass_on: takes a buffer, how many bytes of it are used, and whether it is the last one.
        on_empty: called before waiting for a buffer.
    """

    def __init__(
        self, pool: StagingPool, pass_on: Callable[[bytearray, int, bool], object], on_empty: Callable[[], object]
    ) -> None:
        self._pool = pool
        self._pass_on = pass_on
        self._on_empty = on_empty
        self._buffer = pool.take(on_empty)
        self._view = memoryview(self._buffer)
        self._used = 0
        self.size = 0

    def write(self, data: Any) -> int:
        """Copies the data in; it may change when this returns."""
        view = memoryview(data).cast("B")
        size = len(view)
        self.size += size
        done = 0
        while done < size:
            if self._used == CHUNK:
                self._pass_on(self._buffer, CHUNK, False)
                self._buffer = self._pool.take(self._on_empty)
                self._view = memoryview(self._buffer)
                self._used = 0
            step = min(CHUNK - self._used, size - done)
            self._view[self._used : self._used + step] = view[done : done + step]
            self._used += step
            done += step
        return size

    def close(self) -> None:
        """Passes the last chunk on."""
        self._pass_on(self._buffer, self._used, True)


def default_limit() -> int:
    """Returns a quarter of the memory that this process may have, in bytes."""
    return memory() // 4
