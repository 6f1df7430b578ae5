"""Which snapshots of a run are no longer kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from runner.errors import SnapshotError, SnapshotNotFoundError
from runner.snapshots.stores.store import Entry, Store


@dataclass(frozen=True)
class Kept:
    """What retention knows of a snapshot: where it is, when it was taken and how good it is."""

    location: str
    time: str
    score: float | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Returns what is remembered of an entry, without the rest of its header."""
        return cls(entry.location, entry.header.time, entry.header.score)


class Retention:
    """Deletes the snapshots of a run that neither rule keeps; with neither rule, all are kept.

    The store is asked once, for what earlier processes of the run have written; from then on the snapshots are remembered. So
    what a snapshot costs does not depend on how many others are in the store.

    Args:
        store: has the snapshots.
        earlier: the processes that have written snapshots of this run before (`Header.run_id`).
        keep_best: so many with the lowest score are kept; of equal ones the newer.
        keep_last: so many of the newest are kept. The newest is always kept.
    """

    def __init__(
        self, store: Store, earlier: Collection[str] = (), *, keep_best: int | None = None, keep_last: int | None = None
    ) -> None:
        self._store = store
        self._runs = set(earlier)
        self._keep_best, self._keep_last = keep_best, keep_last
        self._known: list[Kept] | None = None if earlier else []

    def add(self, entry: Entry) -> Sequence[str]:
        """Takes note of a snapshot that was written, and deletes those that are no longer kept.

        Returns:
            The locations that were deleted.

        Raises:
            SnapshotError: the store refuses; it is asked again, for all snapshots of the run, with the next one.
        """
        if self._keep_best is None and self._keep_last is None:
            return []  # nor is anything worth remembering
        try:
            return self._add(entry)
        except SnapshotError:
            self._known = None
            raise

    def _add(self, entry: Entry) -> Sequence[str]:
        self._runs.add(entry.header.run_id)
        known = self._listed() if self._known is None else self._known
        known = [Kept.of(entry), *(one for one in known if one.location != entry.location)]
        try:
            old = self._delete_expired(known)
        except SnapshotNotFoundError:  # somebody has taken one away
            known = self._listed()
            old = self._delete_expired(known)
        self._known = [one for one in known if one.location not in set(old)]
        return old

    def _delete_expired(self, known: Sequence[Kept]) -> Sequence[str]:
        old = expired(known, keep_best=self._keep_best, keep_last=self._keep_last)
        if old:
            self._store.delete(*old)
        return old

    def _listed(self) -> list[Kept]:
        return [Kept.of(entry) for entry in self._store.list(runs=self._runs)]


def expired(known: Sequence[Kept], *, keep_best: int | None, keep_last: int | None) -> list[str]:
    """Returns the locations of the snapshots that neither rule keeps.

    Args:
        known: the snapshots of one run, newest first.
        keep_best: as for `Retention`.
        keep_last: as for `Retention`.
    """
    if keep_best is None and keep_last is None:
        return []
    kept = {one.location for one in known[: keep_last or 1]}
    scored = [one for one in known if one.score is not None]
    kept |= {one.location for one in sorted(scored, key=lambda one: one.score or 0.0)[: keep_best or 0]}
    return [one.location for one in known if one.location not in kept]
