"""Threads that make calls for others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """Threads that make calls, one after the other each. They are started as there is something for them to do.

    Unlike those of an executor of the standard library they take calls until the process has ended: while the interpreter waits
    for a snapshot on its way, too.

    Attributes:
        limit: how many.

    Args:
        limit: how many.
        name: theirs.
        daemon: whether the process may end before them, and without `close`.
    """

    def __init__(self, limit: int, name: str, daemon: bool = False) -> None:
        self.limit = limit
        self._name = name
        self._daemon = daemon
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._started = 0
        self._starting = threading.Lock()

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Makes a call as soon as a thread is free; those before it begin first."""
        call: Future[T] = Future()
        self._calls.put((call, function, arguments))
        with self._starting:
            if self._started < self.limit:
                threading.Thread(target=self._serve, name=self._name, daemon=self._daemon).start()
                self._started += 1
        return call

    def close(self) -> None:
        """Ends the threads, behind the calls that were started; nothing waits for them."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            _make(*item)
            del item  # it may hold much


def made(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Makes a call in this thread."""
    call: Future[T] = Future()
    _make(call, function, arguments)
    return call


def _make(call: Future[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    try:
        call.set_result(function(*arguments))
    except BaseException as error:
        call.set_exception(error)
