"""Writes snapshots: the state is captured at once, then compressed and stored in the background.

The run pauses only while its state is copied into staging memory. A background thread does the rest: digest, parallel
compression, storage. If the state is larger than the staging memory, the capture waits for that thread, chunk by chunk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from runner import cores
from runner.errors import StateError
from runner.graph import Workflow
from runner.memory import keep_freed, without_garbage_collection
from runner.snapshots.capture import pickler
from runner.snapshots.capture.encoding import CaptureError, Encoding
from runner.snapshots.capture.restorable import Recording, check_state
from runner.snapshots.capture.staging import Staging, StagingPool
from runner.snapshots.capture.taking import Chunk, Request, Taking, Written
from runner.snapshots.format.layout import header_bytes

log = logging.getLogger(__name__)


class Writer:
    """Writes one snapshot at a time.

    Attributes:
        process: the process that the writer belongs to; threads do not survive a fork.
        unrestorable: whether the default restore would refuse what was written.

    Args:
        workers: number of compression threads. Default: one per core.
        staging: bytes of staging memory.
    """

    def __init__(self, workers: int | None, staging: int) -> None:
        self.workers = workers or cores.usable()
        self.pool = StagingPool(staging)
        self.process = os.getpid()
        self._taking: Taking | None = None
        self.unrestorable = False
        self._checked: set[Any] = set()
        keep_freed()

    def prepare(self, workflow: Workflow) -> None:
        """Makes memory ready in the background for a state of the present size, which takes longer than to copy it.

        Raises:
            StateError: something in the workflow cannot be pickled, which is better known now than after hours.
        """
        with without_garbage_collection():
            size = pickler.dumped_size(workflow)
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
        taking = self._taking = Taking(request, began, self.workers)
        staging = Staging(
            self.pool,
            taking.copying,
            lambda buffer, used, last: taking.chunks.put(Chunk(buffer, used, last)),
            lambda: self._start(taking),
        )
        try:
            staging.write(header_bytes(request.header))
            recording = None if self._checked else Recording(staging)
            with without_garbage_collection():
                kinds = pickler.dump(workflow, recording or staging)
            taking.check = self._check_for(workflow, recording, kinds)
            staging.complete()
        except BaseException:
            staging.complete()  # the buffers go back
            taking.chunks.put(None)
            self._start(taking)
            self._join(taking)
            self._taking = None
            raise
        taking.written.state = staging.size
        taking.written.pause = time.perf_counter() - began
        staging.finish()
        if blocking and taking.thread is None and staging.size <= request.codec.smallest:
            self._work(taking)
        else:
            self._start(taking)
        return taking.written

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
        taking, self._taking = self._taking, None
        if taking is None or self.process != os.getpid():  # a snapshot of the parent process goes on there
            return
        taking.hurry()
        self._join(taking)
        if taking.error is not None:
            raise taking.error

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written."""
        taking = self._taking
        return taking is not None and taking.thread is not None and taking.thread.is_alive()

    def _start(self, taking: Taking) -> None:
        if taking.thread is None:
            # Not a daemon: the process waits for its last snapshot before it ends.
            taking.thread = threading.Thread(target=self._work, args=(taking,), name="snapshot")
            taking.thread.start()

    @staticmethod
    def _join(taking: Taking) -> None:
        if taking.thread is not None:
            taking.thread.join()

    def _work(self, taking: Taking) -> None:
        request, written = taking.request, taking.written
        try:
            with closing(Encoding(taking, self.pool)) as encoding:
                encoding.begin()  # compresses while the store gets ready
                if request.begin is not None:
                    request.begin()
                began = time.perf_counter()
                written.location = request.store.put(request.header, request.codec, iter(encoding))
                written.storing = time.perf_counter() - began - encoding.awaited
            written.seconds = time.perf_counter() - taking.began
            request.done(written)
            self._check(taking)
            written.work = encoding.work + (time.thread_time() if taking.thread is not None else 0)
        except CaptureError:
            pass  # the capture raises its own error
        except BaseException as error:
            taking.error = error
            if not threading.main_thread().is_alive():  # the process is ending, and nobody will call `wait`
                log.error("No snapshot: %s", error)

    def _check(self, taking: Taking) -> None:
        """Checks that the default restore would accept the snapshot. It is durable by now, so an error loses nothing."""
        try:
            if taking.check is not None:
                taking.check()
        except StateError as error:
            self.unrestorable = True
            if taking.request.on_unrestorable == "raise":
                raise
            log.warning("%s; the run goes on", error)
