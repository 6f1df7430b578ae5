"""Staging memory between the run and the writer: the pickler's output is copied into chunks from a bounded pool."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runner.memory import large_buffer, memory
from runner.storages import OnGpu, gpu_in_use, pinned_buffer
from runner.thread_pool import Threads

if TYPE_CHECKING:
    import torch

CHUNK = 4 << 20
"""Bytes in a chunk; each becomes a member of the codec's format."""
ROUND = 16
"""Chunks to copy before the first of them is passed on."""


class StagingPool:
    """A pool of chunk buffers, which are reused so that their memory stays warm.

    Args:
        limit: bytes in all. The pool has at least four chunks, whatever the limit.
    """

    def __init__(self, limit: int) -> None:
        self.size = max(4, limit // CHUNK)
        self._made = 0
        self._free: list[memoryview] = []
        self._changed = threading.Condition()

    def take(self, on_empty: Callable[[], object]) -> memoryview:
        """Returns a free buffer. If all are in use, calls `on_empty` and waits for one."""
        with self._changed:
            if not self._free and self._made < self.size:
                buffer = _buffer()
                self._made += 1
                return buffer
            if self._free:
                return self._free.pop()
        on_empty()
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            return self._free.pop()

    def prepare(self, size: int) -> None:
        """Makes buffers for so many bytes, as far as there may be so many, before they are needed."""
        while True:
            with self._changed:
                if self._made >= min(self.size, -(-size // CHUNK)):
                    return
                self._made += 1
            buffer = _buffer()
            np.frombuffer(buffer, np.uint8)[:: mmap.PAGESIZE] = 0  # memory is there once it is written to
            self.give(buffer)

    def give(self, buffer: memoryview) -> None:
        """Returns a buffer to the pool."""
        with self._changed:
            self._free.append(buffer)
            self._changed.notify()


def _buffer() -> memoryview:
    # Only to memory that cannot be paged out does a GPU copy at its full speed, and without the processor.
    return pinned_buffer(CHUNK) if gpu_in_use() else large_buffer(CHUNK)


class Staging:
    """The file that the pickler writes to: copies everything into chunks and passes on each full one.

    Several threads copy large data, since a single core cannot use the full memory bandwidth. GPUs copy by themselves.

    Args:
        pool: where the buffers come from.
        threads: these copy, along with the thread that writes.
        pass_on: receives a buffer, the number of bytes used in it, and whether it is the last one.
        on_empty: called before waiting for a buffer.
    """

    def __init__(
        self,
        pool: StagingPool,
        threads: Threads,
        pass_on: Callable[[memoryview, int, bool], object],
        on_empty: Callable[[], object],
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._pass_on = pass_on
        self._on_empty = on_empty
        self._pieces: list[_Piece] = []
        self._full: list[memoryview] = []
        self._buffer = pool.take(on_empty)
        self._used = 0
        self._gpu: torch.cuda.Stream | None = None
        self.size = 0

    def write(self, data: Any) -> int:
        """Copies the data; the caller may change it once this returns."""
        view = memoryview(data).cast("B")
        size = len(view)
        self.size += size
        gpu = view.obj.content if isinstance(view.obj, OnGpu) else None
        done = 0
        while done < size:
            if self._used == CHUNK:
                self._next()
            step = min(CHUNK - self._used, size - done)
            if gpu is None:
                self._pieces.append(_Piece(self._buffer, self._used, view[done : done + step]))
            else:
                self._copy_from_gpu(gpu[done : done + step])
            self._used += step
            done += step
        self._copy()
        return size

    def complete(self) -> None:
        """Waits until all is copied from GPUs."""
        if self._gpu is not None:
            self._gpu.synchronize()
            self._gpu = None

    def finish(self) -> None:
        """Passes on the last chunk."""
        self.complete()
        self._pass_on(self._buffer, self._used, True)

    def _next(self) -> None:
        """Continues in a new buffer. The full one is passed on once it is copied, at the latest when no free buffer is left."""
        self._full.append(self._buffer)
        if len(self._full) == ROUND:
            self._copy()
        self._buffer = self._pool.take(self._wait)
        self._used = 0

    def _wait(self) -> None:
        self._copy()
        self._on_empty()

    def _copy_from_gpu(self, data: torch.Tensor) -> None:
        """Asks the GPU for a copy. What the run does there next comes after it."""
        import torch

        stream = torch.cuda.current_stream(data.device)
        if self._gpu is not None and stream != self._gpu:  # of no stream does torch say that it differs from None
            self.complete()
        self._gpu = stream
        buffer = torch.frombuffer(self._buffer, dtype=torch.uint8, count=len(data), offset=self._used)
        buffer.copy_(data, non_blocking=True)

    def _copy(self) -> None:
        if len(self._pieces) > 2:
            self._copy_in_threads()
        else:
            _copy_all(self._pieces)
        if self._full:
            self.complete()
        for buffer in self._full:
            self._pass_on(buffer, CHUNK, False)
        self._pieces.clear()
        self._full.clear()

    def _copy_in_threads(self) -> None:
        shares = [self._pieces[first :: self._threads.limit] for first in range(self._threads.limit)]
        others = [self._threads.start(_copy_all, share) for share in shares[1:]]
        _copy_all(shares[0])
        for other in others:
            other.result()


class _Piece(NamedTuple):
    """Data to copy, and where in a buffer it goes."""

    buffer: memoryview
    begin: int
    data: memoryview


def _copy_all(pieces: Sequence[_Piece]) -> None:
    for buffer, begin, data in pieces:
        # numpy releases the GIL while it copies; assigning to a slice does not.
        np.copyto(np.frombuffer(buffer, np.uint8, len(data), begin), np.frombuffer(data, np.uint8))


def default_limit() -> int:
    """Returns a quarter of the memory that this process may use, in bytes."""
    return memory() // 4
