"""Standard output and standard error that may fail in any way without the run noticing."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

PIECE = 512
"""Bytes that a pipe with room takes whole, by POSIX."""
PENDING = 1 << 20
"""Bytes kept for a reader that does not read."""
QUIET = "VELES_RUN_QUIET"
"""The variable of the environment by which `--quiet` is told, to the processes of a sweep as well: only warnings and errors
are shown."""
NAMES = {1: "standard output", 2: "standard error"}


def guard() -> None:
    """Replaces the standard streams by ones that cannot stop the run."""
    _open_missing()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 it lives as long as the process
    pump = _Pump()
    same = os.path.sameopenfile(1, 2)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        original: Any = getattr(sys, name)
        if original is getattr(sys, f"__{name}__"):  # not one that a test or an editor has put there
            _streams[number] = Stream(number, pump if same else _Pump())
            setattr(sys, name, _text(_streams[number], original))


def finish(patience: Callable[[], float | None]) -> None:
    """Writes what is left; waits as long for a reader that does not read as `patience` says, in seconds, or until it reads."""
    waited = 0.0
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    for raw in _streams.values():
        while not raw.pump.drained(0.1):
            waited += 0.1
            limit = patience()
            if limit is not None and waited >= limit:
                return


def untold() -> list[str]:
    """Returns what was wrong with the streams, if neither could say so."""
    failures = [raw.failure for raw in _streams.values() if raw.failure is not None]
    return failures if len(failures) == len(_streams) else []


class Stream(io.FileIO):
    """A stream whose writes never fail and never wait.

    A failure is told once, on the other stream. What a reader does not take at once is written by a thread.
    """

    def __init__(self, descriptor: int, pump: _Pump) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.pump = pump
        self.failure: str | None = None
        mode = os.fstat(descriptor).st_mode
        self._may_wait = os.isatty(descriptor) or stat.S_ISSOCK(mode)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: Any) -> int:
        content = bytes(data)
        for begin in range(0, len(content), PIECE):
            piece = content[begin : begin + PIECE]
            if self._may_wait or not self.pump.drained() or not self._poll.poll(0):
                self.pump.put(self, piece)
            else:
                self.write_now(piece)
        return len(content)

    def write_now(self, piece: bytes) -> None:
        """Writes a piece, and waits until it is written."""
        try:
            while piece:
                try:
                    piece = piece[os.write(self.fileno(), piece) :]
                except BlockingIOError:  # another process has made the shared file non-blocking
                    self._poll.poll()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failure is not None:
            return
        number = self.fileno()
        self.failure = f"{NAMES[number]} cannot be written ({error.strerror}); veles-run goes on without it"
        if (other := _streams.get(3 - number)) is not None:
            other.write(f"veles-run: {self.failure}\n".encode())


class _Pump:
    """Pieces of output that wait to be written, in order, and the thread that writes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pieces: deque[tuple[Stream, bytes]] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None

    def put(self, stream: Stream, piece: bytes) -> None:
        """Has a piece written; if the reader has not read for long, it is dropped."""
        with self._changed:
            if self._size + len(piece) > PENDING:
                return
            self._pieces.append((stream, piece))
            self._size += len(piece)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="output", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drained(self, timeout: float = 0) -> bool:
        """Returns whether all is written, or is so within a time in seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pieces, timeout) if timeout else not self._pieces

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces)
                stream, piece = self._pieces[0]
            stream.write_now(piece)
            with self._changed:
                self._pieces.popleft()
                self._size -= len(piece)
                self._changed.notify_all()


_streams: dict[int, Stream] = {}


def _after_fork() -> None:
    for raw in _streams.values():
        raw.pump = _Pump()  # what the parent has not written yet is the parent's, and so is the thread


os.register_at_fork(after_in_child=_after_fork)


def _open_missing() -> None:
    """Opens what of the descriptors 0 to 2 is closed: a snapshot that got one of these numbers would be written into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)


def _text(raw: Stream, original: Any) -> TextIO:
    unbuffered = original is not None and original.write_through
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=original.encoding if original is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=original is not None and original.line_buffering,
        write_through=unbuffered,
    )
