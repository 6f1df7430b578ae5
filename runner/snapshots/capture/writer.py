"""Writes snapshots: the state is captured at once, then compressed and stored in the background.

The run pauses only while its state is copied into staging memory. A background thread does the rest: digest, parallel
compression, storage. If the state is larger than the staging memory, the capture waits for that thread, chunk by chunk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from runner import cores
from runner.errors import SnapshotError, StateError
from runner.graph import Workflow
from runner.memory import keep_freed, without_garbage_collection
from runner.snapshots.capture import pickler
from runner.snapshots.capture.restorable import Recording, check_state
from runner.snapshots.capture.sizes import state_size
from runner.snapshots.capture.staging import Staging, StagingPool
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import header_bytes
from runner.snapshots.format.seal import Seal
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.stores.store import Store
from runner.thread_pool import Threads, made

log = logging.getLogger(__name__)

SAMPLE = 1 << 20
"""Bytes of a sample. It is of the last full chunk: the first ones hold the header and small objects."""


@dataclass
class Written:
    """The outcome of a snapshot, filled in as it is written.

    Attributes:
        uuid: the snapshot's UUID.
        state: bytes of the plain stream.
        pause: seconds that the run paused.
        location: where the snapshot is; empty until it is durable.
        stored: bytes written.
        seconds: time from the start of the capture until the snapshot is durable.
        work: processor seconds of the threads that wrote it in the background.
        storing: seconds that the store took, without waiting for encoded data.
        sample: some of the plain stream, if it was asked for.
        progress: bytes of the plain stream that have been compressed and handed to the store.
    """

    uuid: str
    state: int = 0
    pause: float = 0.0
    location: str = ""
    stored: int = 0
    seconds: float = 0.0
    work: float = 0.0
    storing: float = 0.0
    sample: bytes = b""
    progress: int = 0

    def figures(self) -> dict[str, Any]:
        """Returns what the next snapshot's header records about this one."""
        return {key: getattr(self, key) for key in ("uuid", "state", "stored", "pause", "seconds")}


@dataclass
class Request:
    """A snapshot to write.

    Attributes:
        header: the snapshot's header.
        codec, level: how chunks are compressed.
        key: the signing key, or None.
        store: where the snapshot goes.
        done: called in the background when the snapshot is durable.
        on_unrestorable: whether a state that the default restore would refuse is an error (`raise`) or logged (`warn`).
        sampled: whether `Written.sample` is wanted.
        begin: called in the background before the snapshot is written.
    """

    header: Header
    codec: Codec
    level: int
    key: Key | None
    store: Store
    done: Callable[[Written], object]
    on_unrestorable: str = "raise"
    sampled: bool = False
    begin: Callable[[], object] | None = None


@dataclass(frozen=True)
class _Chunk:
    buffer: memoryview
    used: int
    last: bool


@dataclass
class _Job:
    """A snapshot that is being written. `None` in the queue means that the capture failed."""

    request: Request
    written: Written
    began: float
    threads: Threads
    """These copy and encode. Each snapshot has its own pool, since threads do not survive a fork."""
    chunks: SimpleQueue[_Chunk | None] = field(default_factory=SimpleQueue)
    thread: threading.Thread | None = None
    error: BaseException | None = None
    work: list[float] = field(default_factory=list)
    """Processor seconds of each piece that another thread has encoded."""
    check: Callable[[], None] | None = None
    """Raises an error if the default restore would refuse the state. None if states of this kind were checked before."""


class Writer:
    """Writes one snapshot at a time.

    Attributes:
        process: the process that the writer belongs to; threads do not survive a fork.

    Args:
        workers: number of compression threads. Default: one per core.
        staging: bytes of staging memory.
    """

    def __init__(self, workers: int | None, staging: int) -> None:
        self.workers = workers or cores.usable()
        self.pool = StagingPool(staging)
        self.process = os.getpid()
        self._job: _Job | None = None
        self._checked: set[Any] = set()
        keep_freed()

    def prepare(self, workflow: Workflow) -> None:
        """Makes memory ready in the background for a state of the present size, which takes longer than to copy it."""
        size = state_size(workflow)
        threading.Thread(target=self.pool.prepare, args=(size + size // 8,), name="snapshot-memory", daemon=True).start()

    def submit(self, workflow: Workflow, request: Request, blocking: bool = False) -> Written:
        """Captures the workflow. The rest happens in the background and fills in the returned object.

        First waits for the previous snapshot and raises its error, if any, as `wait` does.

        Args:
            workflow: the workflow to capture.
            request: how and where to write it.
            blocking: whether the caller calls `wait` at once. A small snapshot is then written in this thread.

        Raises:
            StateError: something in the workflow cannot be pickled.
        """
        began = time.perf_counter()
        self.wait()
        job = self._job = _Job(request, Written(request.header.uuid), began, Threads(self.workers, "snapshot-worker"))
        staging = Staging(
            self.pool,
            job.threads,
            lambda buffer, used, last: job.chunks.put(_Chunk(buffer, used, last)),
            lambda: self._start(job),
        )
        try:
            staging.write(header_bytes(request.header))
            recording = None if self._checked else Recording(staging)
            with without_garbage_collection():
                kinds = pickler.dump(workflow, recording or staging)
            job.check = self._check_for(workflow, recording, kinds)
            staging.complete()
        except BaseException:
            staging.complete()  # the buffers go back
            job.chunks.put(None)
            self._start(job)
            self._join(job)
            self._job = None
            raise
        job.written.state = staging.size
        job.written.pause = time.perf_counter() - began
        staging.finish()
        if blocking and job.thread is None and staging.size <= request.codec.smallest:
            self._work(job)
        else:
            self._start(job)
        return job.written

    def _check_for(self, workflow: Workflow, recording: Recording | None, kinds: set[Any]) -> Callable[[], None] | None:
        """Returns a check that the state can be restored; None if all kinds of objects in it were checked before."""
        if kinds <= self._checked:
            return None
        self._checked |= kinds
        return partial(check_state, workflow, recording)

    def wait(self) -> None:
        """Waits until no snapshot is being written.

        Raises:
            SnapshotError: the last snapshot was not written.
        """
        job, self._job = self._job, None
        if job is None or self.process != os.getpid():  # a snapshot of the parent process goes on there
            return
        self._join(job)
        if job.error is not None:
            raise job.error

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written."""
        job = self._job
        return job is not None and job.thread is not None and job.thread.is_alive()

    def _start(self, job: _Job) -> None:
        if job.thread is None:
            # Not a daemon: the process waits for its last snapshot before it ends.
            job.thread = threading.Thread(target=self._work, args=(job,), name="snapshot")
            job.thread.start()

    @staticmethod
    def _join(job: _Job) -> None:
        if job.thread is not None:
            job.thread.join()

    def _work(self, job: _Job) -> None:
        request, written = job.request, job.written
        try:
            with closing(_Encoding(job, self.pool)) as encoding:
                encoding.begin()  # compresses while the store gets ready
                if request.begin is not None:
                    request.begin()
                began = time.perf_counter()
                written.location = request.store.put(request.header, request.codec, iter(encoding))
                written.storing = time.perf_counter() - began - encoding.awaited
            written.seconds = time.perf_counter() - job.began
            request.done(written)
            self._check(job)
            written.work = sum(job.work) + (time.thread_time() if job.thread is not None else 0)
        except _CaptureError:
            pass  # the capture raises its own error
        except BaseException as error:
            job.error = error
            if not threading.main_thread().is_alive():  # the process is ending, and nobody will call `wait`
                log.error("No snapshot: %s", error)

    @staticmethod
    def _check(job: _Job) -> None:
        """Checks that the default restore would accept the snapshot. It is durable by now, so an error loses nothing."""
        try:
            if job.check is not None:
                job.check()
        except StateError as error:
            if job.request.on_unrestorable == "raise":
                raise
            log.warning("%s; the run goes on", error)


class _Encoding:
    """Runs the chunks of a snapshot through its codec; iterates over the encoded chunks in order.

    Compression runs ahead in other threads. Digest and store work in the thread that iterates.

    Attributes:
        awaited: seconds for which that thread has waited for encoded chunks.
    """

    def __init__(self, job: _Job, pool: StagingPool) -> None:
        self._job = job
        self._pool = pool
        self._threads = job.threads
        self._seal = Seal(job.request.key)
        self._ahead: deque[tuple[_Chunk, list[Future[Buffer]]]] = deque()
        self._all = False
        self.awaited = 0.0

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
            while not self._all and len(self._ahead) <= self._threads.limit and not self._job.chunks.empty():
                self.begin()
            chunk, members = self._ahead[0]
            for encoded in members:
                self._job.written.stored += len(encoded.result())
                yield encoded.result()
            self._job.written.progress += chunk.used
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
        self._threads.close()

    def _next(self) -> _Chunk | None:
        chunk: _Chunk | None = self._job.chunks.get()
        self._all = chunk is None or chunk.last
        return chunk

    def begin(self) -> None:
        """Waits for the next chunk and begins to encode it."""
        chunk = self._next()
        if chunk is None:
            raise _CaptureError
        content = chunk.buffer[: chunk.used]
        if self._job.request.sampled and (not chunk.last or not self._job.written.sample):
            self._job.written.sample = bytes(content[:SAMPLE])
        if chunk.last:
            self._seal.update(content)
            request = self._job.request
            parts = _parts(self._sealed(chunk), request.codec, self._threads.limit)
            if len(parts) == 1:
                members = [made(request.codec.encode, *parts, request.level)]
            else:
                members = [self._threads.start(self._encode, part) for part in parts]
        else:
            members = [self._threads.start(self._encode, content)]
            self._seal.update(content)
        self._ahead.append((chunk, members))

    def _encode(self, content: memoryview) -> Buffer:
        """Encodes in another thread, and notes how long its processor was busy."""
        request, began = self._job.request, time.thread_time()
        try:
            return request.codec.encode(content, request.level)
        finally:
            self._job.work.append(time.thread_time() - began)

    def _sealed(self, chunk: _Chunk) -> memoryview:
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


class _CaptureError(SnapshotError):
    """The capture failed, so there is nothing to write."""
