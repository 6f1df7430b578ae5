"""Which snapshots can go: those that no rule keeps, no run began from, and nobody has tagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from runner.snapshots.retention import Kept, expired
from runner.snapshots.shelf.lineage import begun_from
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Entry


@dataclass(frozen=True)
class Rules:
    """What is kept of each run, besides its newest snapshot.

    Attributes:
        keep_best: how many with the lowest errors.
        keep_last: how many of the newest.
        older_than: a time as headers have it; what is not older is kept.
    """

    keep_best: int | None = None
    keep_last: int | None = None
    older_than: str | None = None


def prunable(
    entries: Sequence[Entry],
    marks: Mapping[str, Mark],
    rules: Rules,
    among: Set[str],
    is_whole: Callable[[str], bool],
) -> list[Entry]:
    """Returns the snapshots that can go, oldest first.

    Args:
        entries: all that are in the place, newest first: whether a run began from one depends on all of them.
        marks: what is written on them.
        rules: what is kept.
        among: the UUIDs of those that may go at all.
        is_whole: whether the snapshot at a location is undamaged. One that is not stays, and counts as none that is kept.
    """
    begun = begun_from(entries)
    found: list[Entry] = []
    for run in _runs(entries):
        if among.isdisjoint(entry.header.uuid for entry in run):
            continue  # and needs no reading
        old = _old(run, rules, is_whole)
        found += (
            entry
            for entry in run
            if entry.location in old
            and entry.header.uuid in among
            and entry.header.uuid not in begun
            and not marks.get(entry.header.uuid)
            and (rules.older_than is None or entry.header.time < rules.older_than)
        )
    return sorted(found, key=lambda entry: entry.newest_last)


def _old(run: Sequence[Entry], rules: Rules, is_whole: Callable[[str], bool]) -> set[str]:
    """Returns where the snapshots of a run are that no rule keeps, while those that are kept are whole."""
    counted = list(run)
    while True:
        old = set(expired([Kept.of(entry) for entry in counted], keep_best=rules.keep_best, keep_last=rules.keep_last or 0))
        damaged = [entry for entry in counted if entry.location not in old and not is_whole(entry.location)] if old else []
        if not damaged:
            return old
        counted = [entry for entry in counted if entry not in damaged]


def run_of(entry: Entry) -> tuple[str, str | None]:
    """Returns the run that a snapshot is of, as claims name it."""
    return entry.header.log_id, entry.header.identity


def _runs(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    runs: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in entries:
        runs.setdefault(run_of(entry), []).append(entry)
    yield from runs.values()
