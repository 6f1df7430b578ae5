"""Writes snapshots: captured at once, compressed and stored in the background.

The run stands still while its state is copied into staging memory. A thread then cuts the rest of the way: digest, parallel
compression, store. A state larger than the staging memory makes the capture wait for that thread, chunk by chunk.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from queue import SimpleQueue
from typing import Any

from runner.errors import SnapshotError
from runner.graph import Workflow
from runner.snapshots import pickler
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format import header_bytes
from runner.snapshots.header import Header
from runner.snapshots.memory import keep_freed
from runner.snapshots.signing import Seal
from runner.snapshots.staging import Staging, StagingPool
from runner.snapshots.store import Store

SMALLEST = 1 << 18
"""Bytes that are worth a member of their own: fewer compress worse, and a thread takes longer to wake."""


@dataclass
class Written:
    """What a snapshot came to.

    Attributes:
        uuid: the snapshot's.
        state: bytes of the plain stream.
        pause: seconds during which the run stood still.
        location: where it is; empty until it is durable.
        stored: bytes written.
        seconds: from the beginning to durable.
        progress: bytes of the plain stream that are compressed and handed to the store.
    """

    uuid: str
    state: int = 0
    pause: float = 0.0
    location: str = ""
    stored: int = 0
    seconds: float = 0.0
    progress: int = 0

    def figures(self) -> dict[str, Any]:
        """Returns what the next snapshot's header says of this one."""
        keys = ("uuid", "state", "stored", "pause", "seconds")
        return {key: value for key, value in asdict(self).items() if key in keys}


@dataclass
class Request:
    """A snapshot to be written.

    Attributes:
        header: its header.
        codec, level: how its chunks are compressed.
        key: what it is signed with, or None.
        store: where it goes.
        done: called in the background when it is durable.
    """

    header: Header
    codec: Codec
    level: int
    key: bytes | None
    store: Store
    done: Callable[[Written], object]


@dataclass(frozen=True)
class _Chunk:
    buffer: bytearray
    used: int
    last: bool

    def content(self) -> Buffer:
        return self.buffer if self.used == len(self.buffer) else memoryview(self.buffer)[: self.used]


@dataclass
class _Job:
    """A snapshot on its way. `None` in the queue says that the capture has failed."""

    request: Request
    written: Written
    began: float = field(default_factory=time.perf_counter)
    chunks: SimpleQueue[_Chunk | None] = field(default_factory=SimpleQueue)
    thread: threading.Thread | None = None
    error: BaseException | None = None


class Writer:
    """Writes one snapshot at a time.

    Args:
        workers: threads that compress; one for each core if None.
        staging: bytes of staging memory.
    """

    def __init__(self, workers: int | None, staging: int) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.pool = StagingPool(staging)
        self._job: _Job | None = None
        self._process = os.getpid()
        keep_freed()

    def submit(self, workflow: Workflow, request: Request) -> Written:
        """Captures the workflow; the rest happens in the background, and fills in what is returned.

        Waits for the snapshot before, and raises what happened to it, as `wait` does.

        Raises:
            StateError: something in the workflow cannot be pickled.
        """
        began = time.perf_counter()
        self.wait()
        job = self._job = _Job(request, Written(request.header.uuid), began)
        staging = Staging(
            self.pool,
            self.workers,
            lambda buffer, used, last: job.chunks.put(_Chunk(buffer, used, last)),
            lambda: self._start(job),
        )
        try:
            staging.write(header_bytes(request.header))
            pickler.dump(workflow, staging)
        except BaseException:
            job.chunks.put(None)
            self._start(job)
            self._join(job)
            self._job = None
            raise
        job.written.state = staging.size
        job.written.pause = time.perf_counter() - began
        staging.close()
        self._start(job)
        return job.written

    def wait(self) -> None:
        """Waits until nothing is on its way.

        Raises:
            SnapshotError: the last snapshot was not written.
        """
        job, self._job = self._job, None
        if job is None or self._process != os.getpid():  # threads do not survive a fork; the parent's goes on there
            return
        self._join(job)
        if job.error is not None:
            raise job.error

    @property
    def busy(self) -> bool:
        """Whether a snapshot is on its way."""
        job = self._job
        return job is not None and job.thread is not None and job.thread.is_alive()

    def _start(self, job: _Job) -> None:
        if job.thread is None:
            # Not a daemon: a process that ends waits for its last snapshot.
            job.thread = threading.Thread(target=self._work, args=(job,), name="snapshot")
            job.thread.start()

    @staticmethod
    def _join(job: _Job) -> None:
        if job.thread is not None:
            job.thread.join()

    def _work(self, job: _Job) -> None:
        request, written = job.request, job.written
        source = self._from_queue(job)
        try:
            with ThreadPoolExecutor(self.workers, "snapshot-codec") as executor:
                members = self._members(job, source, executor)
                written.location = request.store.put(request.header, request.codec, members)
            written.seconds = time.perf_counter() - job.began
            request.done(written)
        except _CaptureError:
            pass  # the capture raises its own error
        except BaseException as error:
            job.error = error
        finally:
            # A capture that waits for a buffer must get it, whatever happened here.
            for chunk in source:
                self.pool.give(chunk.buffer)

    @staticmethod
    def _from_queue(job: _Job) -> Iterator[_Chunk]:
        while (chunk := job.chunks.get()) is not None:
            yield chunk
            if chunk.last:
                return

    def _members(self, job: _Job, source: Iterator[_Chunk], executor: ThreadPoolExecutor) -> Iterator[Buffer]:
        """Yields the encoded chunks in order; compression runs ahead in other threads, digest and store in this one."""
        request, written = job.request, job.written
        seal = Seal(request.key)
        ahead: deque[tuple[_Chunk, list[Future[Buffer]]]] = deque()
        last = False
        try:
            while not last and (chunk := next(source, None)) is not None:
                last = chunk.last
                content = chunk.content()
                if last:
                    seal.update(content)
                    parts = _parts(bytes(content) + seal.end(), self.workers)
                else:
                    parts = [content]
                ahead.append((chunk, [executor.submit(request.codec.encode, part, request.level) for part in parts]))
                if not last:
                    seal.update(content)
                while len(ahead) > (0 if last else self.workers + 1):
                    chunk, members = ahead[0]
                    for encoded in members:
                        written.stored += len(encoded.result())
                        yield encoded.result()
                    written.progress += chunk.used
                    ahead.popleft()
                    self.pool.give(chunk.buffer)
            if not last:
                raise _CaptureError
        finally:
            for chunk, members in ahead:
                for encoded in members:
                    encoded.exception()  # waits: it reads the buffer
                self.pool.give(chunk.buffer)


def _parts(content: bytes, workers: int) -> list[Buffer]:
    """Cuts the last chunk so that all workers have something of it: a small snapshot is nothing but its last chunk."""
    size = max(SMALLEST, -(-len(content) // workers))
    return [memoryview(content)[begin : begin + size] for begin in range(0, len(content), size)]


class _CaptureError(SnapshotError):
    """The capture ended early, so there is nothing to write."""
