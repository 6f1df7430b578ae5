"""The signals that ask a process to stop: caught from the start, and passed on to whoever can act on them.

This module imports very little, so that the command can catch signals before its slow imports.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Protocol

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)

URGENT = frozenset({signal.SIGINT, signal.SIGTERM})
"""The signals of which a second one ends the process at once. The others are repeated in normal operation: the kernel sends
SIGXCPU every second, and both terminal and shell send SIGHUP."""

SAME = 0.25
"""Seconds within which two urgent signals count as one: timeout(1) signals the process, and then its group."""


def exit_code(number: signal.Signals) -> int:
    """Returns the exit code of a process that a signal has stopped cleanly."""
    return 130 if number is signal.SIGINT else 75


class Listener(Protocol):
    """Is notified of signals."""

    def on_signal(self, number: signal.Signals) -> None:
        """Notes a signal. This interrupts the main thread anywhere, so it must neither write nor wait."""

    def announce(self, number: signal.Signals) -> None:
        """Tells the user what happens now. A thread calls this at once, even if the main thread is in a long library call."""


@contextmanager
def caught(listener: Listener) -> Iterator[None]:
    """Notifies a listener of all signals that come while the block runs.

    Signals that the process ignores (nohup, a background job in a script) stay ignored. After the block, the earlier handlers
    are restored, and each is called if its signal came. Inside another `caught`, only the listener changes, and the outer one
    is notified at the end. Outside the main thread nothing is caught, since Python allows handlers only in the main thread.
    """
    global _catcher
    if _catcher is not None:
        outer, _catcher.listener = _catcher.listener, listener
        before = len(_catcher.came)
        try:
            yield
        finally:
            _catcher.listener = outer
            for number in _catcher.came[before:]:
                outer.on_signal(number)
        return
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    catcher = _catcher = _Catcher(listener)
    try:
        yield
    finally:
        _catcher = None
        catcher.release()


def settle() -> None:
    """Makes all further signals harmless. The outcome is decided, and a signal must not change the exit code."""
    if _catcher is not None:
        _catcher.settled = True


def ignore() -> None:
    """Ignores all signals from now on, while the interpreter shuts down."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    if _catcher is not None:
        _catcher.before.clear()


def take_back() -> None:
    """Installs the handlers once more that Python knows of, where a library in C has put its own over them."""
    for number in STOPS:
        signal.signal(number, signal.getsignal(number))


def in_a_hurry() -> bool:
    """Whether a signal has come, so that somebody waits for this process to end."""
    return _catcher is not None and bool(_catcher.came)


def passed_on(number: signal.Signals, apart_from: Listener) -> bool:
    """Notifies the listener as if a signal had come, from any thread; returns whether there was one.

    Args:
        number: the signal.
        apart_from: a listener that is not to be notified.
    """
    catcher = _catcher
    if catcher is None or catcher.settled or catcher.listener is apart_from:
        return False
    catcher.listener.on_signal(number)
    catcher.listener.announce(number)
    return True


class _Catcher:
    """The handlers of this process, from their installation to `release()`."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.settled = False
        self.came: list[signal.Signals] = []
        self.before: dict[signal.Signals, Any] = {}
        self._urgent_at: float | None = None
        # Python's C-level handler writes to this pipe at once, whatever the main thread is doing.
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._watcher = threading.Thread(target=self._watch, args=(reading,), name="signals", daemon=True)
        self._watcher.start()
        self._pipe_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in STOPS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not installed from Python
                self.before[number] = signal.signal(number, self._handle)

    def release(self) -> None:
        """Restores the earlier handlers, and calls those whose signals came."""
        self._put_back()
        os.close(self._writing)
        self._watcher.join(1)
        for number in dict.fromkeys(self.came):
            handler = self.before.get(number)
            if callable(handler) and handler is not signal.default_int_handler:
                signal.raise_signal(number)

    def forget(self) -> None:
        """Removes the handlers in a forked process, such as a data loader's worker.

        SIGTERM ends it, since that is how its parent ends it. Signals to the whole group, such as Ctrl-C, are meant for the run
        alone.
        """
        with suppress(ValueError):  # not in the main thread
            self._put_back()
            for number in self.before:
                if number is not signal.SIGTERM:
                    signal.signal(number, _leave_to_the_run)

    def _put_back(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._pipe_before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        came = signal.Signals(number)
        if not self.settled and came in URGENT and self._is_second():
            signal.signal(came, signal.SIG_DFL)
            os.kill(os.getpid(), came)
        self.came.append(came)
        if not self.settled:
            self.listener.on_signal(came)

    def _is_second(self) -> bool:
        now = time.monotonic()
        if self._urgent_at is None:
            self._urgent_at = now
        return now - self._urgent_at > SAME

    def _watch(self, reading: int) -> None:
        while data := os.read(reading, 1):
            if data[0] in STOPS and not self.settled:
                with suppress(Exception):  # the message is not essential
                    self.listener.announce(signal.Signals(data[0]))
        os.close(reading)


def _leave_to_the_run(number: int, frame: FrameType | None) -> None:
    """Does nothing. Unlike SIG_IGN, it is not inherited by a program that this process may start."""


_catcher: _Catcher | None = None


def _after_fork() -> None:
    global _catcher
    catcher, _catcher = _catcher, None
    if catcher is not None:
        catcher.forget()


os.register_at_fork(after_in_child=_after_fork)
