"""What a terminal shows while a run goes on: a row for each epoch, and below them a bar that looks where the run stands."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from runner.cli import bars, sweep_bar
from runner.cli.epoch_rows import Column, Glyphs, columns, heading, pause, row
from runner.graph import Workflow
from runner.graph.outlook import Outlook
from runner.nn.epoch_ended import EpochEnded
from runner.snapshots.announcements import SnapshotWritten, megabytes
from runner.text import shown

REFRESHED = 4
"""How often in a second the bar looks."""
WINDOW = 30.0
"""Seconds over which the speed is measured."""


class RunView:
    """Shows a run on a terminal while the block runs.

    The row of the last epoch stays below the others, above the bar, until its snapshot is written, or until something else has
    to be printed: then it has its final place.

    Args:
        workflow: which run.
        console: the terminal.
    """

    def __init__(self, workflow: Workflow, console: Console) -> None:
        self._workflow = workflow
        self._console = console
        self._glyphs = Glyphs.of(console.encoding)
        self._columns: list[Column] | None = None
        self._width = 0
        self._pending: EpochEnded | None = None
        self._lock = threading.RLock()
        self._speed = _Speed()
        self._live = Live(
            console=console, get_renderable=self._below, transient=True, refresh_per_second=REFRESHED, vertical_overflow="crop"
        )

    def __enter__(self) -> RunView:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._settle()
        self._live.stop()

    def show(self, event: object) -> bool:
        """Shows what has happened, if it is something that has a form of its own here; returns whether it has."""
        with self._lock:
            if isinstance(event, EpochEnded):
                self._settle()
                self._pending = event
            elif isinstance(event, SnapshotWritten):
                self._show_snapshot(event)
            else:
                return False
        return True

    def print(self, text: str, style: str | None) -> None:
        """Prints a line above the bar, below all rows so far."""
        with self._lock:
            self._settle()
            self._console.print(text, style=style)

    def _show_snapshot(self, event: SnapshotWritten) -> None:
        header = event.header
        if self._pending is not None and (header.epoch, header.iteration) == (self._pending.number, 0) and not header.autosave:
            self._settle(event)
            return
        if self._pending is None or header.epoch >= self._pending.number:  # one of an earlier epoch comes late: above the row
            self._settle()
        kind = "autosave" if header.autosave else "snapshot"
        where = f"epoch {header.epoch + 1}, minibatch {header.iteration}" if header.iteration else f"epoch {header.epoch}"
        size = f"{megabytes(event.written.stored)}, pause {pause(event)}"
        self._console.print(Text.assemble((self._glyphs.snapshot, "cyan"), (f" {kind} of {where}: {size}", "dim")))

    def _settle(self, written: SnapshotWritten | None = None) -> None:
        """Prints the row of the last epoch where it stays."""
        ended, self._pending = self._pending, None
        if ended is None:
            return
        if self._columns is None or self._width != self._console.width:
            self._width = self._console.width
            self._columns = columns(ended, self._width, self._glyphs)
            self._console.print(heading(self._columns))
        self._console.print(row(self._columns, ended, written))

    def _below(self) -> RenderableType:
        lines: list[RenderableType] = []
        with suppress(Exception):  # the run may be at any point of a unit, and one of the user's own may not know its step
            lines.extend(self._rows())
            lines.extend(self._bar())
        with suppress(Exception):
            if (sweep := sweep_bar.current()) is not None:
                lines.append(sweep.line(self._console.width, self._glyphs))
        return Group(*lines)

    def _rows(self) -> Iterator[Text]:
        ended = self._pending
        if ended is not None:
            chosen = self._columns if self._width == self._console.width else None
            yield row(chosen or columns(ended, self._console.width, self._glyphs), ended, None)

    def _bar(self) -> Iterator[Text]:
        step = self._workflow.current_step
        if step is None:
            return
        title, done, total = step
        outlook = self._workflow.outlook
        parts = [
            (0, shown(title)),
            (0, bars.BAR),
            (1, f"{done}/{total}" if total < 1_000_000 else f"{100 * done / total:.0f} %"),
        ]
        if outlook is not None:
            parts += [(2, f"{name} {text}") for name, text in outlook.readings.items()]
            parts += self._outlook(outlook, total - done)
        yield bars.line(parts, done, total, self._console.width, self._glyphs)

    def _outlook(self, outlook: Outlook, left: int) -> Iterator[tuple[int, str]]:
        speed = self._speed.of(outlook.done)
        if not speed:
            return
        if outlook.samples:
            yield 5, f"{speed * outlook.samples:,.0f}/s"
        yield 4, f"{bars.rough(left / speed)} left"
        if outlook.total is not None and outlook.total - outlook.done > left:
            yield 3, f"run {bars.rough((outlook.total - outlook.done) / speed)}"


class _Speed:
    """Steps in a second, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, done: int) -> float:
        now = time.monotonic()
        self._seen.append((now, done))
        while self._seen[0][0] < now - WINDOW:
            self._seen.popleft()
        (begun, first), took = self._seen[0], now - self._seen[0][0]
        return (done - first) / took if took > 0.2 and begun < now else 0.0
