"""What all trackers have in common: a thread delivers, so that a tracker that is away, slow or broken never holds a run up."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from runner import passwords
from runner.checks import first_line
from runner.loggers.logger import Logger, Run
from runner.loggers.points import Point, points
from runner.metrics import Row

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""How many seconds the end of a run waits for what has not been delivered."""
STEP = 10.0
"""How many of these without anything being delivered."""
HURRY = 5.0
"""The same, if the tracker fails, or a run has failed, or a signal has stopped it: who sent it may wait for little longer."""
UPLOAD = 600.0
"""The same, if snapshots go along."""
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

    Args:
        artifacts: whether snapshots go along.
    """

    def __init__(self, *, artifacts: bool = False) -> None:
        self.artifacts = artifacts
        self._changed = Condition()
        self._before: Sequence[Row] = ()
        self._waiting: list[Point] = []
        self._result: Mapping[str, Any] | None = None
        self._given_up = False
        self._left_out = 0
        self._calls = 0
        self._failing = self._told = self._done = False
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
        self._before = rows
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
        assert self._thread is not None
        with self._changed:
            self._result = result
            hurries = result["status"] != "finished" or self._failing
            self._changed.notify()
        self._wait(hurries)
        with self._changed:
            self._given_up = True
            whole = self._done and not self._left_out
            self._changed.notify()
        if not whole:
            log.warning("%s has not got all of the run's metrics; it gets them when the run goes on", type(self).__name__)

    def _wait(self, hurries: bool) -> None:
        """Waits for what has not been delivered, as long as there is progress."""
        assert self._thread is not None
        if hurries or self.artifacts:
            self._thread.join(HURRY if hurries else UPLOAD)
            return
        end = time.monotonic() + PATIENCE
        while self._thread.is_alive() and time.monotonic() < end:
            before = self._calls
            self._thread.join(STEP)
            if self._calls == before:
                break

    def _work(self, run: Run) -> None:
        attempt = 0
        while not self._given_up:
            ended = self._result is not None
            try:
                there = set(self.open(run))
                self._calls += 1
                self._deliver(there)
                self._done = not self._given_up
                return
            except Exception as error:
                self._failing = True
                self._tell(error)
            self._pause(PAUSES[0 if ended else min(attempt, len(PAUSES) - 1)], ended)
            attempt += 1

    def _pause(self, seconds: float, ended: bool) -> None:
        """Waits before another attempt; the end of the run, if it is new, is a reason not to."""
        with self._changed:
            self._changed.wait_for(lambda: self._given_up or (self._result is not None and not ended), seconds)

    def _deliver(self, there: set[tuple[str, int]]) -> None:
        before = chain.from_iterable(map(points, self._before))
        while some := list(islice(before, AT_ONCE)):
            self._write_missing(some, there)
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
            self._write_missing(new, there)
            with self._changed:
                del self._waiting[: len(new)]

    def _write_missing(self, new: Iterable[Point], there: set[tuple[str, int]]) -> None:
        """Delivers the points that are not there. A step that is replayed has the same values."""
        missing = {(point.name, point.step): point for point in new if (point.name, point.step) not in there}
        if missing and not self._given_up:
            self.write(list(missing.values()))
            self._calls += 1
            self._failing = False
            there.update(missing)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            what = passwords.redact(f"{type(error).__name__}: {first_line(error)}")
            log.warning("%s cannot be reached (%s); the run goes on, and it is tried again", type(self).__name__, what)
        self._told = True


def by_step(new: Iterable[Point]) -> dict[int, dict[str, float]]:
    """Returns points as trackers take them that have the numbers of a step together."""
    steps: dict[int, dict[str, float]] = {}
    for point in new:
        steps.setdefault(point.step, {})[point.name] = point.value
    return steps


def snapshots_in(result: Mapping[str, Any]) -> Iterator[Path]:
    """Yields the files of the best and of the last snapshot; those in databases and buckets are not uploaded."""
    for location in dict.fromkeys((result["best_snapshot"], result["last_snapshot"])):
        if location and Path(location).is_file():
            yield Path(location)
