"""How often a run takes snapshots so that a kill loses little, without costing much."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from statistics import median_low

from runner import cores
from runner.snapshots.capture.taking import Written
from runner.snapshots.settings import SnapshotterSettings

RECENT = 5
"""Snapshots by whose cost the next ones are planned: one that happened to be slow says nothing about them."""


@dataclass(frozen=True)
class _Taken:
    """A snapshot, when it was taken, and how long the run stood still for it."""

    written: Written
    began: float
    held: float


class Pace:
    """Plans the snapshots that bound what a kill can lose.

    A snapshot counts from the moment it is durable, so each is taken early enough for that. All times are of this process
    alone: nothing of them gets into the state.
    """

    def __init__(self) -> None:
        self._cores = cores.usable()
        self._began = time.monotonic()
        self._taken: deque[_Taken] = deque(maxlen=RECENT)
        self._told = False

    def add(self, written: Written, began: float) -> None:
        """Notes that a snapshot was captured just now. The rest of its cost is read once it is durable.

        Args:
            written: the snapshot.
            began: when its capture began, by `time.monotonic()`.
        """
        self._taken.append(_Taken(written, began, time.monotonic() - began))

    def is_due(self, settings: SnapshotterSettings) -> bool:
        """Whether the run has to take a snapshot now."""
        if settings.at_most_lost is None:
            return False
        elapsed = time.monotonic() - (self._taken[-1].began if self._taken else self._began)
        return elapsed >= settings.at_most_lost / 2 and elapsed >= self._interval(settings.at_most_lost, settings.max_overhead)

    def at_risk(self, now: float) -> float:
        """Returns how many seconds ago the newest durable snapshot was taken, or the run began."""
        return now - max((taken.began for taken in self._durable), default=self._began)

    def shortfall(self, settings: SnapshotterSettings) -> str | None:
        """Returns, once, why a kill may lose more than `at_most_lost`.

        Returns:
            None if it cannot, if the first snapshot alone says so, or if this was said before.
        """
        limit, durable = settings.at_most_lost, self._durable
        if limit is None or len(durable) < 2 or self._told:
            return None
        interval, longest = self._interval(limit, settings.max_overhead), self._longest
        if interval + longest <= limit:
            return None
        self._told = True
        share = settings.max_overhead
        return (
            f"up to {interval + longest:.3g} s may be lost, not {limit:g} (snapshotter.at_most_lost): a snapshot is durable"
            f" after {longest:.2g} s and costs the run {self._cost:.2g} s, so that snapshotter.max_overhead={share:g} allows"
            f" one in {self._cost / share:.3g} s"
        )

    def _interval(self, at_most_lost: float, max_overhead: float) -> float:
        """Returns how long after a snapshot the next one is taken."""
        if not self._durable:
            return at_most_lost / 2
        # Twice the time that one takes, since disks are not always equally fast.
        in_time = max(at_most_lost - 2 * self._longest, at_most_lost / 2)
        # The first snapshot of a process costs several times as much as the others: memory is new, and the state is checked.
        return in_time if len(self._durable) < 2 else max(in_time, self._cost / max_overhead)

    @property
    def _durable(self) -> list[_Taken]:
        return [taken for taken in self._taken if taken.written.seconds]

    @property
    def _cost(self) -> float:
        """The seconds by which a snapshot delays the run: it stands still, then shares the cores with what writes."""
        return median_low(taken.held + taken.written.work / self._cores for taken in self._durable)

    @property
    def _longest(self) -> float:
        return max(taken.written.seconds for taken in self._durable)
