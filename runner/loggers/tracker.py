"""What all trackers have in common: a thread delivers, so that a tracker that is away, slow or broken never holds a run up."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from threading import Condition, Thread
from typing import Any

from runner import passwords
from runner.checks import first_line
from runner.loggers.logger import Logger, Run
from runner.loggers.points import Point, points
from runner.metrics import Row

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""How many seconds the end of a run waits for what has not been delivered."""
HURRY = 5.0
"""The same, if a run has failed or a signal has stopped it: who sent it may wait for little longer."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts; the last one from then on."""
MOST = 200_000
"""Points that wait at most. The tracker gets what was left out when the run goes on another time."""
AT_ONCE = 1_000
"""Points that are delivered together."""


class Tracker(Logger):
    """Delivers points to a tracker, each once.

    A subclass says how, in three methods that are called one after the other, by one thread. They may take their time and
    raise anything: then the tracker is opened again after a while, and asked again what it has. Whatever is not delivered
    when the run has ended is delivered when it goes on.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[Point] = []
        self._result: Mapping[str, Any] | None = None
        self._given_up = False
        self._left_out = 0
        self._told = False
        self._thread: Thread | None = None

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        """Opens the tracker's run with the id `run.id`, or begins it; returns the name and the step of each point in it."""
        raise NotImplementedError

    def write(self, new: Sequence[Point]) -> None:
        """Delivers points; the tracker has them when it returns."""
        raise NotImplementedError

    def close(self, result: Mapping[str, Any]) -> None:
        """Ends the tracker's run, or leaves it for the next process; `result` is what `result.json` says."""
        raise NotImplementedError

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        for row in rows:
            self.log(row)
        self._thread = Thread(target=self._work, args=(run,), name=f"logger {type(self).__name__}", daemon=True)
        self._thread.start()

    def log(self, row: Row) -> None:
        new = list(points(row))
        with self._changed:
            if len(self._waiting) + len(new) > MOST:
                self._left_out += len(new)
                return
            self._waiting += new
            self._changed.notify()

    def finish(self, result: Mapping[str, Any]) -> None:
        with self._changed:
            self._result = result
            self._changed.notify()
        assert self._thread is not None
        self._thread.join(PATIENCE if result["status"] == "finished" else HURRY)
        with self._changed:
            self._given_up = True
            left = len(self._waiting) + self._left_out
            self._changed.notify()
        if left or self._thread.is_alive():
            log.warning("%s has not got all of the run's metrics; it gets them when the run goes on", type(self).__name__)

    def _work(self, run: Run) -> None:
        for attempt in range(10**9):
            try:
                self._deliver(set(self.open(run)))
                return
            except Exception as error:
                self._tell(error)
            with self._changed:
                if self._changed.wait_for(lambda: self._given_up, PAUSES[min(attempt, len(PAUSES) - 1)]):
                    return

    def _deliver(self, there: set[tuple[str, int]]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._result is not None or self._given_up)
                new = self._waiting[:AT_ONCE]
            if self._given_up:
                return
            if not new:
                assert self._result is not None
                self.close(self._result)
                return
            # A step that is replayed has the same values.
            if missing := [point for point in new if (point.name, point.step) not in there]:
                self.write(missing)
            there.update((point.name, point.step) for point in missing)
            with self._changed:
                del self._waiting[: len(new)]

    def _tell(self, error: Exception) -> None:
        if not self._told:
            what = passwords.redact(f"{type(error).__name__}: {first_line(error)}")
            log.warning("%s cannot be reached (%s); the run goes on, and it is tried again", type(self).__name__, what)
        self._told = True
