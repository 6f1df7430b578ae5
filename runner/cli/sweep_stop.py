"""Stops a sweep whose jobs a launcher runs in other processes: each that runs takes its snapshot, and no other begins.

Whoever stops the process that a sweep was started from may not reach those of the jobs, which can be anywhere. So it leaves a
file in the sweep's folder, for which the jobs look. They stop, too, when the process that has started them is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from runner import signals

STOP = ".stop"
"""The file. It holds the signal's number."""
INTERVAL = 0.2
"""Seconds after which a job looks for it again."""


def in_other_processes(hydra: Any) -> bool:
    """Whether the jobs of a sweep run elsewhere than in the process that it was started from, by Hydra's configuration."""
    return not hydra.launcher._target_.endswith(".BasicLauncher")


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

    If the process is gone that has started this one, nobody is left to take the result, and this one ends, too.

    Args:
        folder: the sweep's.
    """
    ended = Event()
    parent, before = os.getppid(), _Before()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            number = before.number or stop_of(folder) or (signal.SIGTERM if os.getppid() != parent else None)
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
            if os.getppid() != parent:
                logging.shutdown()
                os._exit(signals.exit_code(signal.SIGTERM))
