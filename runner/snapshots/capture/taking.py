"""A snapshot that is being taken: what was asked for, its chunks on their way, and what it has come to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from runner.snapshots.codecs import Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.stores.store import Store
from runner.thread_pool import Threads, give_way

PROMPT = 32 << 20
"""Bytes of a snapshot that are written as fast as can be: what takes no longer than a moment hinders nobody."""


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
        hurried: whether it is written as fast as can be, although nobody waits for it.
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
    hurried: bool = False


@dataclass(frozen=True)
class Chunk:
    """A part of the plain stream: so many bytes at the beginning of a buffer.

    Attributes:
        buffer: where it is.
        used: its bytes.
        last: whether it is the last one.
    """

    buffer: memoryview
    used: int
    last: bool


class Taking:
    """A snapshot that is being taken.

    While the run goes on, the threads that write a large one give way to it. When somebody waits for the snapshot, fresh ones
    take over, since a thread cannot get back what it gave up.

    Attributes:
        chunks: what was captured and is still to be encoded; None means that the capture has failed.
        thread: the one that writes, once it was started.
        error: what it ended with.
        check: raises an error if the default restore would refuse the state. None if states of this kind were checked before.
        copying: threads that copy, and that encode in a hurry. Each snapshot has its own, since threads do not survive a fork.

    Args:
        request: what was asked for.
        began: when, by `time.perf_counter()`.
        workers: how many threads encode at a time.
    """

    def __init__(self, request: Request, began: float, workers: int) -> None:
        self.request = request
        self.written = Written(request.header.uuid)
        self.began = began
        self.workers = workers
        self.chunks: SimpleQueue[Chunk | None] = SimpleQueue()
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.check: Callable[[], None] | None = None
        self.copying = Threads(workers, "snapshot-worker")
        self._patient = Threads(workers, "snapshot-encoder", patient=True)
        self._hurried = request.hurried

    @property
    def encoding(self) -> Threads:
        """The threads that encode what comes next."""
        return self._patient if self._gives_way else self.copying

    @property
    def _gives_way(self) -> bool:
        return not self._hurried and self.written.progress >= PROMPT

    def hurry(self) -> None:
        """Notes that somebody waits for the snapshot."""
        self._hurried = True

    def step(self, size: int) -> None:
        """Notes that the current thread has written so many more bytes of the plain stream; from some on it gives way."""
        self.written.progress += size
        if self._gives_way:
            give_way()

    def close(self) -> None:
        """Ends the threads, once they have done what they were given."""
        self.copying.close()
        self._patient.close()
