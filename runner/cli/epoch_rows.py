"""Epochs as rows of a table that fits the terminal: what matters least is left out first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from runner.nn.epoch_ended import EpochEnded
from runner.snapshots.announcements import SnapshotWritten, megabytes

Show = Callable[[EpochEnded, SnapshotWritten | None], Text]


@dataclass(frozen=True)
class Glyphs:
    """The signs that stand for something, as far as the encoding has them."""

    best: str
    snapshot: str
    bar: str
    rest: str
    dot: str
    levels: str

    @classmethod
    def of(cls, encoding: str) -> Glyphs:
        """Returns those of an encoding."""
        if encoding.lower().startswith("utf"):
            return cls("★", "▪", "━", "─", "·", "▁▂▃▄▅▆▇█")
        return cls("*", "+", "#", "-", "|", "_.-=*#")


@dataclass(frozen=True)
class Column:
    """A column: the higher its rank, the earlier it is left out."""

    title: str
    width: int
    rank: int
    show: Show
    left: bool = False


def columns(ended: EpochEnded, width: int, glyphs: Glyphs) -> list[Column]:
    """Returns the columns for a terminal of a width, by what the first epoch to be shown has."""
    numbers = len(str(ended.total or 9999))
    all_columns = [Column("epoch", max(5, numbers * 2 + 1 if ended.total else numbers), 0, _number)]
    for rank, split in enumerate(ended.splits):
        all_columns.append(Column(split, max(len(split), 8), min(rank, 1) if rank < 2 else 6, _error(split)))
        if split in ended.losses:
            all_columns.append(Column("loss", 8, 5 if rank else 4, _loss(split)))
    if ended.rates:
        all_columns.append(Column("rate", max(6, len(ended.rate)), 3, lambda row, _: Text(row.rate, "dim")))
    all_columns.append(Column("time", 7, 2, lambda row, _: Text(seconds(row.seconds), "dim")))
    all_columns.append(Column("", 1, 0, lambda row, _: Text(glyphs.best if row.best else "", "bold green"), left=True))
    sign = glyphs.snapshot
    choices = [
        Column("snapshot, pause", 17, 0, lambda _, written: _snapshot(written, sign, True), left=True),
        Column("snapshot", 9, 0, lambda _, written: _snapshot(written, sign, False), left=True),
        Column("", 1, 0, lambda _, written: Text(sign if written else "", "cyan"), left=True),
    ]
    for last in choices:
        if _width(chosen := [*all_columns, last]) < width:
            return chosen
    while _width(chosen) >= width and (worst := max(all_columns, key=lambda column: column.rank)).rank:
        all_columns.remove(worst)
        chosen = [*all_columns, choices[-1]]
    return chosen


def heading(chosen: list[Column]) -> Text:
    """Returns the titles of the columns."""
    cells = (column.title.ljust(column.width) if column.left else column.title.rjust(column.width) for column in chosen)
    return Text("  ".join(cells).rstrip(), "dim")


def row(chosen: list[Column], ended: EpochEnded, written: SnapshotWritten | None) -> Text:
    """Returns an epoch as a row, with its snapshot if there is one."""
    cells = []
    for column in chosen:
        cell = column.show(ended, written)
        cell.align("left" if column.left else "right", max(column.width, cell.cell_len))
        cells.append(cell)
    line = Text("  ").join(cells)
    line.rstrip()
    return line


def seconds(value: float) -> str:
    """Returns a time: `0.21 s`, `42.0 s`, `3:05`, `1:02:40`."""
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def pause(written: SnapshotWritten) -> str:
    """Returns for how long a snapshot kept the run waiting."""
    return f"{1000 * written.written.pause:.0f} ms" if written.written.pause < 1 else f"{written.written.pause:.1f} s"


def _width(chosen: list[Column]) -> int:
    return sum(column.width + 2 for column in chosen) - 2


def _number(ended: EpochEnded, _: SnapshotWritten | None) -> Text:
    return Text(f"{ended.number}/{ended.total}" if ended.total else str(ended.number))


def _error(split: str) -> Show:
    def show(ended: EpochEnded, _: SnapshotWritten | None) -> Text:
        value = ended.errors.get(split, math.nan)
        best = "bold green" if ended.best and split == ended.monitor else ""
        return Text(ended.metric.text(value), best if math.isfinite(value) else "bold red")

    return show


def _loss(split: str) -> Show:
    def show(ended: EpochEnded, _: SnapshotWritten | None) -> Text:
        value = ended.losses.get(split, math.nan)
        return Text(f"{value:.4f}" if abs(value) < 1000 else f"{value:.2e}", "dim" if math.isfinite(value) else "bold red")

    return show


def _snapshot(written: SnapshotWritten | None, sign: str, long: bool) -> Text:
    if written is None:
        return Text()
    more = f", {pause(written)}" if long else ""
    return Text.assemble((sign, "cyan"), (f" {megabytes(written.written.stored)}{more}", "dim"))
