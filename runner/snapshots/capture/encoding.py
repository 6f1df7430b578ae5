"""Encodes the chunks of a snapshot in several threads, in order, and seals the stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from runner.errors import SnapshotError
from runner.snapshots.capture.staging import StagingPool
from runner.snapshots.capture.taking import Chunk, Taking
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.seal import Seal
from runner.thread_pool import made

SAMPLE = 1 << 20
"""Bytes of a sample. It is of the last full chunk: the first ones hold the header and small objects."""


class CaptureError(SnapshotError):
    """The capture failed, so there is nothing to write."""


class Encoding:
    """Runs the chunks of a snapshot through its codec; iterates over the encoded chunks in order.

    Compression runs ahead in other threads. Digest and store work in the thread that iterates.

    Attributes:
        awaited: seconds for which that thread has waited for encoded chunks.
    """

    def __init__(self, taking: Taking, pool: StagingPool) -> None:
        self._taking = taking
        self._pool = pool
        self._seal = Seal(taking.request.key)
        self._ahead: deque[tuple[Chunk, list[Future[Buffer]]]] = deque()
        self._all = False
        self._work: list[float] = []
        self.awaited = 0.0

    @property
    def work(self) -> float:
        """The processor seconds of the threads that have encoded."""
        return sum(self._work)

    def __iter__(self) -> Iterator[Buffer]:
        members = self._members()
        while True:
            began = time.perf_counter()
            member = next(members, None)
            self.awaited += time.perf_counter() - began
            if member is None:
                return
            yield member

    def _members(self) -> Iterator[Buffer]:
        while self._ahead:
            # Take only the chunks that are ready: the capture may itself be waiting for the buffers held here.
            while not self._all and len(self._ahead) <= self._taking.workers and not self._taking.chunks.empty():
                self.begin()
            chunk, members = self._ahead[0]
            for encoded in members:
                self._taking.written.stored += len(encoded.result())
                yield encoded.result()
            self._taking.step(chunk.used)
            self._ahead.popleft()
            self._pool.give(chunk.buffer)
            if not self._ahead and not self._all:
                self.begin()

    def close(self) -> None:
        """Returns all buffers: a capture that waits for one must get it, even after an error here."""
        for chunk, members in self._ahead:
            for encoded in members:
                encoded.exception()  # waits, since the thread is still reading the buffer
            self._pool.give(chunk.buffer)
        while not self._all and (rest := self._next()) is not None:
            self._pool.give(rest.buffer)
        self._taking.close()

    def _next(self) -> Chunk | None:
        chunk: Chunk | None = self._taking.chunks.get()
        self._all = chunk is None or chunk.last
        return chunk

    def begin(self) -> None:
        """Waits for the next chunk and begins to encode it."""
        chunk = self._next()
        if chunk is None:
            raise CaptureError
        content = chunk.buffer[: chunk.used]
        if self._taking.request.sampled and (not chunk.last or not self._taking.written.sample):
            self._taking.written.sample = bytes(content[:SAMPLE])
        if chunk.last:
            self._seal.update(content)
            request = self._taking.request
            parts = _parts(self._sealed(chunk), request.codec, self._taking.workers)
            if len(parts) == 1:
                members = [made(request.codec.encode, *parts, request.level)]
            else:
                members = [self._taking.encoding.start(self._encode, part) for part in parts]
        else:
            members = [self._taking.encoding.start(self._encode, content)]
            self._seal.update(content)
        self._ahead.append((chunk, members))

    def _encode(self, content: memoryview) -> Buffer:
        """Encodes in another thread, and notes how long its processor was busy."""
        request, began = self._taking.request, time.thread_time()
        try:
            return request.codec.encode(content, request.level)
        finally:
            self._work.append(time.thread_time() - began)

    def _sealed(self, chunk: Chunk) -> memoryview:
        """Returns the last chunk with signature and trailer: in the same buffer, if there is room, else as a copy."""
        end = self._seal.end()
        sealed = chunk.buffer[: chunk.used + len(end)]
        if len(sealed) < chunk.used + len(end):
            return memoryview(bytes(sealed[: chunk.used]) + end)
        sealed[chunk.used :] = end
        return sealed


def _parts(content: memoryview, codec: Codec, workers: int) -> list[memoryview]:
    """Splits the last chunk among all workers: a small snapshot has no other chunk."""
    size = max(codec.smallest, -(-len(content) // workers))
    return [content[begin : begin + size] for begin in range(0, len(content), size)]
