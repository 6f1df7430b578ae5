"""Decides which snapshots of a run to delete."""

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
        """Keeps the few values that retention needs, not the whole header."""
        return cls(entry.location, entry.header.time, entry.header.score)


class Retention:
    """Deletes old snapshots of a run. Without a rule, all are kept.

    With both rules set, a snapshot is kept if either rule keeps it. The newest is always kept.

    The store is listed once, for the snapshots of the run's earlier processes; from then on they are remembered. So the cost of
    a snapshot does not grow with the number of snapshots in the store.

    Args:
        store: where the snapshots are.
        earlier: the earlier processes that wrote snapshots of this run (`Header.run_id`).
        keep_best: how many snapshots with the lowest scores to keep; of equal ones, the newer.
        keep_last: how many of the newest snapshots to keep.
    """

    def __init__(
        self, store: Store, earlier: Collection[str] = (), *, keep_best: int | None = None, keep_last: int | None = None
    ) -> None:
        self._store = store
        self._runs = set(earlier)
        self._keep_best, self._keep_last = keep_best, keep_last
        self._known: list[Kept] | None = None if earlier else []

    def add(self, entry: Entry) -> Sequence[str]:
        """Notes that a snapshot was written, and deletes those that are no longer kept.

        Returns:
            The deleted locations.

        Raises:
            SnapshotError: the store fails. With the next snapshot, the store is listed again and the deletion is retried.
        """
        if self._keep_best is None and self._keep_last is None:
            return []  # nothing will ever be deleted, so there is nothing to remember
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
        except SnapshotNotFoundError:  # somebody else has deleted one
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
        keep_best: as in `Retention`.
        keep_last: as in `Retention`.
    """
    if keep_best is None and keep_last is None:
        return []
    kept = {one.location for one in known[: keep_last or 1]}
    scored = [one for one in known if one.score is not None]
    kept |= {one.location for one in sorted(scored, key=lambda one: one.score or 0.0)[: keep_best or 0]}
    return [one.location for one in known if one.location not in kept]
