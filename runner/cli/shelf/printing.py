"""What `veles-snapshots` prints: a table for people, or JSON for scripts."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.cells import cell_len

from runner import passwords
from runner.errors import RunnerError
from runner.snapshots.shelf.shelf import SHORT
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Entry
from runner.text import shown

GAP = 2
"""Blanks between columns."""
BLOCK = 500
"""Lines of a table that are printed at a time."""
ESSENTIAL = 9
"""The importance of a column that is always there."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        cell: the text of a row.
        right: whether it is aligned to the right, as numbers are.
        importance: a terminal that is too narrow goes without the columns of the least importance.
    """

    title: str
    cell: Callable[[Any], object]
    right: bool = False
    importance: int = ESSENTIAL


def _put(text: str, end: str = "\n") -> None:
    try:
        print(text, end=end)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unprintable(error) from error


def finish() -> None:
    """Makes sure that all has been printed.

    Raises:
        RunnerError: it cannot be.
    """
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it would be tried once more at the end
            raise _unprintable(error) from error


def _unprintable(error: OSError) -> RunnerError:
    return RunnerError(f"the output cannot be written: {error.strerror or error}")


def say(text: object = "") -> None:
    """Prints a line of plain text that is safe to show."""
    _put(passwords.redact(shown(text)))


def warn(text: object) -> None:
    """Prints a line on standard error."""
    print(passwords.redact(shown(text)), file=sys.stderr)


def dump(value: object) -> None:
    """Prints JSON."""
    _put(json.dumps(value, indent=2))


def dump_rows(rows: Iterable[object]) -> None:
    """Prints a list as JSON, a line for each item, of which there may be many."""
    begin = "["
    for row in rows:
        _put(f"{begin}\n{_as_json(row)}", end="")
        begin = ","
    _put("\n]" if begin == "," else "[]")


def _as_json(row: object) -> str:
    """Returns JSON in ASCII, which every output can show. Most rows are ASCII anyway, and msgspec takes a sixth of the time."""
    with suppress(UnicodeEncodeError):  # half a surrogate pair
        if (text := msgspec.json.encode(row)).isascii():
            return text.decode()
    return json.dumps(row, separators=(",", ":"))


def table(rows: Iterable[Any], columns: Sequence[Column]) -> int:
    """Prints a table; on a terminal, as many columns as have room. Returns the number of rows."""
    lines = [tuple(shown(column.cell(row)) for column in columns) for row in rows]
    if not lines:
        return 0
    heads = tuple(column.title for column in columns)
    cells = list(zip(*lines, strict=True))
    widths = [max(map(_width, (head, *texts))) for head, texts in zip(heads, cells, strict=True)]
    filled = [any(texts) for texts in cells]
    kept = [at for at, column in enumerate(columns) if filled[at] or column.importance == ESSENTIAL]
    room = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    while room is not None and sum(widths[at] + GAP for at in kept) - GAP > room:
        least = min(kept, key=lambda at: (columns[at].importance, -at))
        if columns[least].importance == ESSENTIAL:
            break
        kept.remove(least)
    kinds = [(at, widths[at], columns[at].right) for at in kept]
    head = _line(heads, kinds)
    _put(head if room is None else f"\x1b[1m{head}\x1b[0m")
    for begin in range(0, len(lines), BLOCK):
        _put(passwords.redact("\n".join(_line(line, kinds) for line in lines[begin : begin + BLOCK])))
    return len(lines)


def _line(cells: Sequence[str], kinds: Iterable[tuple[int, int, bool]]) -> str:
    return (" " * GAP).join([_aligned(cells[at], width, right) for at, width, right in kinds]).rstrip()


def _width(text: str) -> int:
    """Returns the columns of a terminal that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _aligned(text: str, width: int, right: bool) -> str:
    if text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def short(identity: str | None) -> str:
    """Returns the beginning of an id."""
    return (identity or "")[:SHORT]


def number(value: float | None) -> str:
    """Returns a number with six digits at most."""
    return "" if value is None else f"{value:.6g}"


def size(count: int | None) -> str:
    """Returns a number of bytes in the units of disks."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def percent(share: float | None) -> str:
    """Returns a share in percent."""
    return "" if share is None else f"{100 * share:.1f} %"


def time_of(text: str) -> str:
    """Returns the time in a header to the second."""
    return text[:19].replace("T", " ")


ENTRIES = (
    Column("id", lambda row: short(row["uuid"])),
    Column("time (UTC)", lambda row: time_of(row["time"])),
    Column("workflow", lambda row: row["workflow"]),
    Column("epoch", lambda row: f"{row['epoch']}{'+' if row['iteration'] else ''}", right=True),
    Column("error", lambda row: number(row["error"]), right=True),
    Column("split", lambda row: row["split"] or "", importance=3),
    Column("codec", lambda row: row["codec"], importance=5),
    Column("size", lambda row: size(row["stored"]), right=True, importance=7),
    Column("ratio", lambda row: percent(row["ratio"]), right=True, importance=4),
    Column("run", lambda row: short(row["run"]), importance=6),
    Column("parent", lambda row: short(row["parent"]), importance=3),
    Column("tag", lambda row: " ".join(row["tags"]), importance=8),
    Column("", lambda row: "autosave" if row["autosave"] else "complete" if row["complete"] else "", importance=2),
    Column("location", lambda row: row["location"], importance=1),
)
"""A listing of snapshots."""


def described(entry: Entry, state: int | None = None, mark: Mark | None = None) -> dict[str, Any]:
    """Returns what is told of a snapshot, in JSON's terms.

    Args:
        entry: the snapshot.
        state: bytes of its plain stream, if they are known.
        mark: what is written on it.
    """
    header = entry.header
    return {
        "uuid": header.uuid,
        "location": entry.location,
        "time": header.time,
        "workflow": header.workflow,
        "name": header.name,
        "epoch": header.epoch,
        "iteration": header.iteration,
        "error": header.score,
        "split": header.split,
        "metrics": header.metrics,
        "codec": entry.codec,
        "stored": entry.stored,
        "state": state,
        "ratio": entry.stored / state if entry.stored is not None and state else None,
        "run": header.log_id,
        "process": header.run_id,
        "parent": header.parent,
        "complete": header.complete,
        "autosave": header.autosave,
        "tags": list(mark.tags) if mark else [],
        "note": mark.note if mark else "",
    }
