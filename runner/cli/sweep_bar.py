"""One bar for all jobs of a sweep, at a terminal: how many have ended, the best so far, and the time that is left.

What has ended is read from the jobs' folders, wherever they run. The bar stays on the last line: what
else is printed, by this process or by those of jobs, goes over it, and it is drawn again below.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runner.cli import bars
from runner.cli.epoch_rows import Glyphs
from runner.cli.sweeping.jobs import DONE
from runner.metrics.run_files import RESULT, read_result
from runner.report.goal import Goal
from runner.text import shown

REFRESHED = 4
"""How often in a second the bar is drawn."""
INTERVAL = 1.0
"""Seconds after which the folders are looked at again."""


class SweepBar:
    """The bar.

    Args:
        folder: the sweep's.
        count: how many jobs the sweep has.
        left: how many of them are to be run now.
    """

    def __init__(self, folder: Path, count: int, left: int) -> None:
        self._folder, self._count, self._before = folder, count, count - left
        self._began, self._clock = time.time(), time.monotonic()
        self._looked, self._last = 0.0, self._clock
        self._goal = Goal.of(folder)
        self._objectives: dict[str, float] = {}
        self._ended = set[str]()
        self._failed = 0

    def line(self, width: int, glyphs: Glyphs) -> Text:
        """Returns the line for a terminal of a width."""
        if time.monotonic() - self._looked > INTERVAL:
            self._look()
            self._looked = time.monotonic()
        done = min(self._before + len(self._ended), self._count)
        parts = [(0, "Sweep"), (0, bars.BAR), (1, f"{done}/{self._count}")]
        if self._objectives:
            best = min(self._objectives, key=lambda job: self._goal.rank(self._objectives[job]))
            parts.append((2, f"best {self._objectives[best]:.4g} (job {shown(best)})"))
        if self._failed:
            parts.append((3, f"{self._failed} failed"))
        if (left := self._seconds_left(self._count - done)) > 0:
            parts.append((4, f"{bars.rough(left)} left"))
        return bars.line(parts, done, self._count, width, glyphs)

    def _seconds_left(self, jobs: int) -> float:
        """Returns how long so many jobs will take, as far as those tell that have ended; it is less with each second."""
        if not self._ended:
            return 0.0
        return (self._last - self._clock) / len(self._ended) * jobs - (time.monotonic() - self._last)

    def _look(self) -> None:
        """Looks which jobs have ended; those that ended before this process began count for the best one only."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name not in self._ended:
                    self._look_at(entry)

    def _look_at(self, entry: os.DirEntry[str]) -> None:
        try:
            is_new = os.stat(os.path.join(entry.path, RESULT)).st_mtime >= self._began
        except OSError:  # it has not ended, or is no job
            return
        if not is_new and entry.name in self._objectives:
            return
        result = read_result(entry.path) or {}
        status, objective = result.get("status"), self._goal.value(result)
        if objective is not None and status in DONE:
            self._objectives[entry.name] = objective
        if is_new and status in (*DONE, "failed"):
            self._ended.add(entry.name)
            self._last = time.monotonic()
            self._failed += status == "failed"


_current: list[SweepBar] = []


def begin(folder: Path, count: int, left: int) -> None:
    """Notes what the sweep of this process has to do, as `SweepBar` is given it."""
    _current[:] = [SweepBar(folder, count, left)]


def current() -> SweepBar | None:
    """Returns the bar of the sweep of this process."""
    return _current[-1] if _current else None


@contextmanager
def below(console: Console) -> Iterator[None]:
    """Shows the bar at a terminal while the block runs, in which other processes run jobs."""
    if not _current:
        yield
        return
    bar, glyphs = _current[-1], Glyphs.of(console.encoding)

    def line() -> Text:
        return bar.line(console.width, glyphs)

    with Live(console=console, get_renderable=line, transient=True, refresh_per_second=REFRESHED, vertical_overflow="crop"):
        yield
