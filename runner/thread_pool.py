"""A thread pool that still works at interpreter shutdown."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

NICENESS = 15
"""Of what gives way: where all cores are busy, it gets a thirtieth of one."""


class Threads:
    """A pool of threads that are started on demand.

    Unlike the executors of the standard library, it accepts calls until the process ends, even while the interpreter is
    shutting down and waits for a snapshot that is being written.

    Attributes:
        limit: the maximum number of threads.

    Args:
        limit: the maximum number of threads.
        name: the name of each thread.
        daemon: whether the process may end before its threads do, without `close`.
        patient: whether the threads give way to all others.
    """

    def __init__(self, limit: int, name: str, daemon: bool = False, patient: bool = False) -> None:
        self.limit = limit
        self._name = name
        self._daemon = daemon
        self._patient = patient
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._started = 0
        self._starting = threading.Lock()

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Makes a call as soon as a thread is free. Calls begin in the order in which they were submitted."""
        call: Future[T] = Future()
        self._calls.put((call, function, arguments))
        with self._starting:
            if self._started < self.limit:
                threading.Thread(target=self._serve, name=self._name, daemon=self._daemon).start()
                self._started += 1
        return call

    def close(self) -> None:
        """Ends the threads once the submitted calls are done, without waiting for them."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        if self._patient:
            give_way()
        while (item := self._calls.get()) is not None:
            _make(*item)
            del item  # it may hold a lot of memory


def give_way() -> None:
    """Has the system prefer others to the current thread, for as long as this lives: only root could take it back."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        thread = threading.get_native_id()
        with suppress(OSError):  # where system calls are filtered
            os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def made(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Makes a call in the current thread; the returned future is done."""
    call: Future[T] = Future()
    _make(call, function, arguments)
    return call


def _make(call: Future[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    if not call.set_running_or_notify_cancel():
        return
    try:
        call.set_result(function(*arguments))
    except BaseException as error:
        call.set_exception(error)
