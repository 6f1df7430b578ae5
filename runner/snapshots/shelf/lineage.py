"""Which run was resumed from which: snapshots in the order in which states followed one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runner.snapshots.stores.store import Entry


@dataclass(eq=False)
class Process:
    """What one process has written.

    Attributes:
        entries: its snapshots, oldest first.
        origin: the snapshot that it went on from; None if it began afresh, or that one is gone.
        parent: the process that had written it; if it is gone, the last one before of the same run.
        children: the processes that went on from this one's snapshots.
    """

    entries: list[Entry] = field(default_factory=list)
    origin: Entry | None = None
    parent: Process | None = None
    children: list[Process] = field(default_factory=list)

    @property
    def first(self) -> Entry:
        """Its first snapshot."""
        return self.entries[0]

    @property
    def last(self) -> Entry:
        """Its last snapshot."""
        return self.entries[-1]

    @property
    def branches(self) -> bool:
        """Whether it is not simply the next stretch of the run before it: another configuration, or not from its end."""
        if self.parent is None:
            return False
        same = self.first.header.identity == self.parent.last.header.identity
        return not same or (self.origin is not None and self.origin is not self.parent.last)


def processes(entries: Iterable[Entry]) -> list[Process]:
    """Returns the processes that wrote snapshots, oldest first, each linked to the one that it went on from."""
    found: dict[str, Process] = {}
    by_uuid: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda one: one.newest_last):
        found.setdefault(entry.header.run_id, Process()).entries.append(entry)
        by_uuid.setdefault(entry.header.uuid, entry)
    ordered = list(found.values())
    for number, process in enumerate(ordered):
        header = process.first.header
        if header.parent is None:
            continue
        process.origin = by_uuid.get(header.parent)
        if process.origin is not None:
            process.parent = found[process.origin.header.run_id]
        else:
            same_run = (one for one in reversed(ordered[:number]) if one.first.header.log_id == header.log_id)
            process.parent = next(same_run, None)
        if process.parent is process or (process.parent is not None and process in _line(process.parent)):
            process.parent = process.origin = None  # only a forged header says so
        elif process.parent is not None:
            process.parent.children.append(process)
    return ordered


def _line(process: Process | None) -> set[Process]:
    line: set[Process] = set()
    while process is not None and process not in line:
        line.add(process)
        process = process.parent
    return line


def begun_from(entries: Iterable[Entry]) -> Mapping[str, str]:
    """Returns the snapshots from which another process went on: by UUID, the id of that process.

    Where the first snapshots of a process are gone, so is what says from which it went on: the last one before it counts.
    """
    found = [(process, process.parent) for process in processes(entries)]
    return {
        (process.origin or parent.last).header.uuid: process.first.header.run_id
        for process, parent in found
        if parent is not None
    }
