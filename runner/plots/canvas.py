"""Where a run's pictures go: to a separate process, which draws them into a folder."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Condition, Thread

from runner.plots.pictures import Picture

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""How many seconds the end of a run waits for the last pictures."""
TOGETHER = 0.02
"""How many seconds after the first picture the others are waited for: plotters run one after the other."""
HURRY = 5.0
"""The same, if a signal has stopped it: who sent it may wait for little longer."""

_PAINTER = "import sys; sys.path[:] = sys.argv[1:]; from runner.plots.painter import main; main()"


def can_draw() -> bool:
    """Returns whether matplotlib is installed. It is not imported: this process never needs it."""
    return find_spec("matplotlib") is not None


@contextmanager
def painter_ahead() -> Iterator[None]:
    """Starts a painter, which becomes ready to draw while the block does something else; the next canvas takes it.

    One that no canvas has taken by the end of the block is ended.
    """
    with suppress(OSError):  # which the canvas tells, if it meets it, too
        _Ahead.painter = _started()
    try:
        yield
    finally:
        if (painter := _Ahead.take()) is not None:
            with painter:
                painter.kill()


class _Ahead:
    """The painter that waits for a canvas."""

    painter: subprocess.Popen[bytes] | None = None

    @classmethod
    def take(cls) -> subprocess.Popen[bytes] | None:
        painter, cls.painter = cls.painter, None
        return painter


class Canvas:
    """Hands pictures to a painter, a process with a low priority, and waits for it only in `finish()`.

    While the painter is busy, only the newest picture of each name is kept. Whatever goes wrong is logged once, and the run
    goes on: a picture that cannot be written is left out, and a painter that died is not started again.

    Args:
        folder: where the pictures are written, as `<name>.png`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(folder)
        self._changed = Condition()
        self._waiting: dict[str, Picture] = {}
        self._thread: Thread | None = None
        self._painter: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._broken = False
        self._warned = False

    def draw(self, name: str, picture: Picture) -> None:
        """Has a picture drawn; returns at once."""
        with self._changed:
            if self._broken:
                return
            self._waiting[name] = picture
            if self._thread is None:
                self._thread = Thread(target=self._work, name="pictures", daemon=True)
                self._thread.start()
            self._changed.notify()

    def finish(self, patience: float = PATIENCE) -> None:
        """Waits until all pictures are drawn and the painter has ended, but for so many seconds at most."""
        if (thread := self._thread) is None:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        thread.join(patience)
        if thread.is_alive() and self._painter is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._painter.pid, signal.SIGKILL)  # with its copies; the thread reports it
            thread.join()
        self._thread, self._closing = None, False

    def _work(self) -> None:
        try:
            with _Ahead.take() or _started() as self._painter:
                while pictures := self._next():
                    self._paint(self._painter, pictures)
        except Exception as error:  # the run does not depend on its pictures
            status = None if self._painter is None else self._painter.poll()
            self._warn(f"{error}" if status is None else f"the process that draws has ended with status {status}")
            with self._changed:
                self._broken = True
                self._waiting.clear()

    def _next(self) -> dict[str, Picture]:
        """Waits for pictures, and returns those that come together; none if there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: self._closing, TOGETHER)
            pictures, self._waiting = self._waiting, {}
            return pictures

    def _paint(self, painter: subprocess.Popen[bytes], pictures: Mapping[str, Picture]) -> None:
        assert painter.stdin is not None
        assert painter.stdout is not None
        painter.stdin.write(pickle.dumps((os.path.abspath(self.folder), pictures), protocol=5))
        painter.stdin.flush()
        answer = painter.stdout.readline()
        if not answer:
            raise EOFError("the process that draws is gone")
        if problem := answer.decode(errors="replace").strip():
            self._warn(problem)

    def _warn(self, problem: str) -> None:
        if not self._warned:
            log.warning("Pictures are missing in %s (%s); the run goes on", self.folder, problem)
        self._warned = True


def _started() -> subprocess.Popen[bytes]:
    """Starts the painter: in a new session, since Ctrl-C is meant for the run, and with this process's module path."""
    return subprocess.Popen(
        [sys.executable, "-c", _PAINTER, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
