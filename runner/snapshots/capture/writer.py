"""Writes snapshots: captured at once, compressed and stored in the background.

The run stands still while its state is copied into staging memory. A thread then cuts the rest of the way: digest, parallel
compression, store. A state larger than the staging memory makes the capture wait for that thread, chunk by chunk.
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
from dataclasses import asdict, dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from runner import cores
from runner.errors import SnapshotError, StateError
from runner.graph import Workflow
from runner.snapshots.capture import pickler
from runner.snapshots.capture.restorable import Recording, check_state
from runner.snapshots.capture.staging import Staging, StagingPool
from runner.snapshots.capture.thread_pool import Threads, made
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import header_bytes
from runner.snapshots.format.seal import Seal
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.memory import keep_freed
from runner.snapshots.stores.store import Store

log = logging.getLogger(__name__)


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
        on_unrestorable: whether a state that the default restore would refuse is an error (`raise`) or reported (`warn`).
    """

    header: Header
    codec: Codec
    level: int
    key: Key | None
    store: Store
    done: Callable[[Written], object]
    on_unrestorable: str = "raise"


@dataclass(frozen=True)
class _Chunk:
    buffer: memoryview
    used: int
    last: bool


@dataclass
class _Job:
    """A snapshot on its way. `None` in the queue says that the capture has failed."""

    request: Request
    written: Written
    began: float
    threads: Threads
    """What copies and encodes; made for each snapshot, since threads do not survive a fork."""
    chunks: SimpleQueue[_Chunk | None] = field(default_factory=SimpleQueue)
    thread: threading.Thread | None = None
    error: BaseException | None = None
    check: Callable[[], None] | None = None
    """Raises an error if the default restore would refuse the state; None if that was found out before."""


class Writer:
    """Writes one snapshot at a time.

    Attributes:
        process: the process that it works in; threads do not survive a fork.

    Args:
        workers: threads that compress; one for each core if None.
        staging: bytes of staging memory.
    """

    def __init__(self, workers: int | None, staging: int) -> None:
        self.workers = workers or cores.usable()
        self.pool = StagingPool(staging)
        self.process = os.getpid()
        self._job: _Job | None = None
        self._checked: set[Any] = set()
        keep_freed()

    def submit(self, workflow: Workflow, request: Request, blocking: bool = False) -> Written:
        """Captures the workflow; the rest happens in the background, and fills in what is returned.

        Waits for the snapshot before, and raises what happened to it, as `wait` does.

        Args:
            workflow: what is captured.
            request: what becomes of it.
            blocking: that `wait` follows at once, so that one that is not worth a thread is written without.

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
            job.check = self._check_for(workflow, recording, pickler.dump(workflow, recording or staging))
        except BaseException:
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
        """Returns what checks that a state can be restored, if kinds of objects are in it that were in none before."""
        if kinds <= self._checked:
            return None
        self._checked |= kinds
        return partial(check_state, workflow, recording)

    def wait(self) -> None:
        """Waits until nothing is on its way.

        Raises:
            SnapshotError: the last snapshot was not written.
        """
        job, self._job = self._job, None
        if job is None or self.process != os.getpid():  # the parent's goes on there
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
        try:
            with closing(_Encoding(job, self.pool)) as encoding:
                encoding.begin()  # while the store gets ready
                written.location = request.store.put(request.header, request.codec, iter(encoding))
            written.seconds = time.perf_counter() - job.began
            request.done(written)
            self._check(job)
        except _CaptureError:
            pass  # the capture raises its own error
        except BaseException as error:
            job.error = error
            if not threading.main_thread().is_alive():  # the process ends, and nobody will ask
                log.error("No snapshot: %s", error)

    @staticmethod
    def _check(job: _Job) -> None:
        """Checks that the default restore would take the snapshot, which is durable by now: nothing is lost by an error."""
        try:
            if job.check is not None:
                job.check()
        except StateError as error:
            if job.request.on_unrestorable == "raise":
                raise
            log.warning("%s; the run goes on", error)


class _Encoding:
    """The chunks of a snapshot on their way through its codec; iterates over the encoded ones, in order.

    Compression runs ahead in other threads; digest and store work in the one that iterates.
    """

    def __init__(self, job: _Job, pool: StagingPool) -> None:
        self._job = job
        self._pool = pool
        self._threads = job.threads
        self._seal = Seal(job.request.key)
        self._ahead: deque[tuple[_Chunk, list[Future[Buffer]]]] = deque()
        self._all = False

    def __iter__(self) -> Iterator[Buffer]:
        while self._ahead:
            # What is there is taken; nothing is waited for, since the capture may wait for the buffers that are held here.
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
        """Gives all buffers back: a capture that waits for one must get it, whatever happened here."""
        for chunk, members in self._ahead:
            for encoded in members:
                encoded.exception()  # waits: it reads the buffer
            self._pool.give(chunk.buffer)
        while not self._all and (rest := self._next()) is not None:
            self._pool.give(rest.buffer)
        self._threads.close()

    def _next(self) -> _Chunk | None:
        chunk: _Chunk | None = self._job.chunks.get()
        self._all = chunk is None or chunk.last
        return chunk

    def begin(self) -> None:
        """Waits for the next chunk, and begins to encode it."""
        chunk = self._next()
        if chunk is None:
            raise _CaptureError
        content = chunk.buffer[: chunk.used]
        codec, level = self._job.request.codec, self._job.request.level
        if chunk.last:
            self._seal.update(content)
            parts = _parts(self._sealed(chunk), codec, self._threads.limit)
            start = self._threads.start if len(parts) > 1 else made
            members = [start(codec.encode, part, level) for part in parts]
        else:
            members = [self._threads.start(codec.encode, content, level)]
            self._seal.update(content)
        self._ahead.append((chunk, members))

    def _sealed(self, chunk: _Chunk) -> memoryview:
        """Returns the last chunk with signature and trailer, which have room in its buffer unless it is full."""
        end = self._seal.end()
        sealed = chunk.buffer[: chunk.used + len(end)]
        if len(sealed) < chunk.used + len(end):
            return memoryview(bytes(sealed[: chunk.used]) + end)
        sealed[chunk.used :] = end
        return sealed


def _parts(content: memoryview, codec: Codec, workers: int) -> list[memoryview]:
    """Cuts the last chunk so that all workers have something of it: a small snapshot is nothing but its last chunk."""
    size = max(codec.smallest, -(-len(content) // workers))
    return [content[begin : begin + size] for begin in range(0, len(content), size)]


class _CaptureError(SnapshotError):
    """The capture ended early, so there is nothing to write."""
