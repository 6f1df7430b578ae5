"""Stops a sweep whose jobs a launcher runs in other processes: each that runs takes its snapshot, and no other begins.

Whoever stops the process that a sweep was started from may not reach those of the jobs, which can be anywhere. So it leaves a
file in the sweep's folder, for which the jobs look. They stop, too, when the process that has started them is gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from omegaconf import OmegaConf

from runner import signals
from runner.cli import parallel
from runner.snapshots.stores.holder import Holder

STOP = ".stop"
"""The file. It holds the signal's number."""
LOCK = ".lock"
"""A file in the folder of a sweep, or of a job, which the process has locked that runs it."""
HOLDER_BYTES = 4096
INTERVAL = 0.2
"""Seconds after which a job looks for it again."""


def in_other_processes(hydra: Any) -> bool:
    """Whether the jobs of a sweep run elsewhere than in the process that it was started from, by Hydra's configuration."""
    return not hydra.launcher._target_.endswith(".BasicLauncher")


def hold(host: str = "", process: str = "") -> None:
    """Tells the processes of jobs which one the sweep was started from. Resolvers reach them, with what they hold.

    Args:
        host, process: as in `Holder`; empty if it keeps no lock.
    """
    OmegaConf.register_new_resolver("sweep_process", lambda: f"{process} {host}", replace=True)
    OmegaConf.register_new_resolver("of_first_task", of_first_task, replace=True)


def of_first_task(value: str) -> str | None:
    """Returns a value in the first of the processes of a job, and None in the others."""
    found = parallel.several(os.environ)
    return value if found is None or found.rank == 0 else None


def holder_of_sweep() -> tuple[str, str]:
    """Returns the host and the process that a sweep was started from."""
    process, _, host = str(OmegaConf.create({"process": "${sweep_process:}"}).process).partition(" ")
    return host, process


class Passing:
    """Passes a signal on to the jobs.

    Attributes:
        number: the first signal, or None.

    Args:
        folder: the sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self.number: signal.Signals | None = None
        self._folder = folder

    def on_signal(self, number: signal.Signals) -> None:
        """Notes the signal, by which the process will end."""
        self.number = self.number or number

    def announce(self, number: signal.Signals) -> None:
        """Leaves the file for the jobs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / STOP).write_text(f"{number.value}")
        print(f"veles-run: {number.name}: the jobs that run take a snapshot and stop", file=sys.stderr)


@contextmanager
def passed_on(folder: Path) -> Iterator[Passing]:
    """Passes signals on to the jobs while the block runs.

    Args:
        folder: the sweep's.
    """
    (folder / STOP).unlink(missing_ok=True)
    passing = Passing(folder)
    try:
        with signals.caught(passing):
            yield passing
    finally:
        (folder / STOP).unlink(missing_ok=True)


def stop_of(folder: Path) -> signal.Signals | None:
    """Returns the signal that has stopped a sweep; None if none has."""
    with suppress(OSError, ValueError):
        return signal.Signals(int((folder / STOP).read_text()))
    return None


class _Before:
    """Listens before the run of a job has begun, which is told then what has come."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

    def on_signal(self, number: signal.Signals) -> None:
        self.number = self.number or number

    def announce(self, number: signal.Signals) -> None:
        """Leaves it to the run."""


@contextmanager
def stopped_with_the_sweep(folder: Path) -> Iterator[None]:
    """Stops the job that the block runs when the sweep is stopped, as a signal would.

    If the process is gone that the sweep was started from, nobody is left to take the result, and this one ends, too.

    Args:
        folder: the sweep's.
    """
    _busy.set()
    ended = Event()
    gone, before = _Sweep(folder), _Before()
    gone.leave_if_abandoned()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            number = before.number or stop_of(folder) or (signal.SIGTERM if gone.is_abandoned() else None)
            if number is not None and signals.passed_on(number, apart_from=before):
                return

    thread = Thread(target=watch, name="stop of the sweep", daemon=True)
    with signals.caught(before):
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            gone.leave_if_abandoned()
            _busy.clear()


class _Sweep:
    """The process that a sweep was started from, as those of its jobs see it.

    It may be gone before this process has begun, or be another one by now that goes on with the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / LOCK
        self._parent = os.getppid()
        self._host, self._process = holder_of_sweep()

    def is_abandoned(self) -> bool:
        """Whether it is gone, where that can be known: on the same machine."""
        if os.getppid() != self._parent:
            return True
        if self._host != socket.gethostname():
            return False
        try:
            with self._lock.open("rb") as file:
                holder = Holder.read(file.read(HOLDER_BYTES))
                if holder is not None and holder.process == self._process:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True

    def leave_if_abandoned(self) -> None:
        """Ends this process at once, if nobody is there any more who wants anything of it."""
        if self.is_abandoned():
            logging.shutdown()
            os._exit(signals.exit_code(signal.SIGTERM))


def end_with(parent: int) -> None:
    """Has this process, in which a launcher runs jobs, end with the one that has started it, also before it has a job.

    A job that runs takes its snapshot first.

    Args:
        parent: the number of the process that has started it.
    """

    def watch() -> None:
        while os.getppid() == parent or _busy.is_set():
            time.sleep(INTERVAL)
        os._exit(signals.exit_code(signal.SIGTERM))

    Thread(target=watch, name="end of the sweep", daemon=True).start()


_busy = Event()
"""Is set while a job runs in this process."""
