"""Decides which snapshots of a run to delete."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

from runner.errors import SnapshotError, SnapshotNotFoundError
from runner.snapshots.stores.store import Entry, Store

NEWEST = 10
"""Among this many of a run's newest snapshots are the autosaves that its killed processes left."""


@dataclass(frozen=True)
class Kept:
    """What retention knows of a snapshot: where and which it is, when it was taken, how good it is, whether it is an autosave.

    Scores are compared with those of the same kind alone: of the same split and metric.
    """

    location: str
    time: str
    score: float | None
    autosave: bool = False
    kind: tuple[str | None, str] = (None, "")
    uuid: str = ""

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Keeps the few values that retention needs, not the whole header."""
        header = entry.header
        return cls(entry.location, header.time, header.score, header.autosave, (header.split, header.measure), header.uuid)


class Retention:
    """Deletes old snapshots of a run.

    An autosave is deleted once a newer snapshot is durable. Of the others, all are kept without a rule. With both rules set, a
    snapshot is kept if either rule keeps it. The newest is always kept, and so is what has a tag or a note. Autosaves do not
    count for the rules.

    The store is listed once, for the snapshots of the run's earlier processes; from then on they are remembered. So the cost of
    a snapshot does not grow with the number of snapshots in the store.

    Args:
        store: where the snapshots are.
        earlier: the earlier processes that wrote snapshots of this run (`Header.run_id`).
        keep_best: how many snapshots with the lowest scores to keep, of each kind of them; of equal ones, the older, as a run
            counts its best epoch.
        keep_last: how many of the newest snapshots to keep.
    """

    def __init__(
        self, store: Store, earlier: Collection[str] = (), *, keep_best: int | None = None, keep_last: int | None = None
    ) -> None:
        self._store = store
        self._runs = set(earlier)
        self._rules = {"keep_best": keep_best, "keep_last": keep_last}
        self._keeps_all = keep_best is None and keep_last is None
        self._known: list[Kept] | None = None if earlier else []

    def add(self, entry: Entry) -> Sequence[str]:
        """Notes that a snapshot was written, and deletes those that are no longer kept.

        Returns:
            The deleted locations, without those of autosaves.

        Raises:
            SnapshotError: the store fails. With the next snapshot, the store is listed again and the deletion is retried.
        """
        self._runs.add(entry.header.run_id)
        return self._tidied([Kept.of(entry)])

    def tidy(self) -> Sequence[str]:
        """Deletes what is no longer kept since snapshots have got from a spool to where they belong; as `add` otherwise."""
        return self._tidied([])

    def _tidied(self, added: Sequence[Kept]) -> Sequence[str]:
        try:
            return self._with(added)
        except SnapshotError:
            self._known = None
            raise

    def _with(self, added: Sequence[Kept]) -> Sequence[str]:
        places = {one.location for one in added}
        earlier = self._listed() if self._known is None else self._known
        known = [*added, *(one for one in earlier if one.location not in places)]
        try:
            old = self._delete_expired(known)
        except SnapshotNotFoundError:  # somebody else has deleted one
            known = self._listed()
            old = self._delete_expired(known)
        # What will never be deleted need not be remembered.
        self._known = [one for one in known if one not in old and (one.autosave or not self._keeps_all)]
        return [one.location for one in old if not one.autosave]

    def _delete_expired(self, known: Sequence[Kept]) -> Sequence[Kept]:
        # What waits in a spool may be lost with this machine: nothing makes way for it where it belongs itself.
        waiting = {one.location for one in known if not self._store.has_settled(one.location)}
        settled = [one for one in known if one.location not in waiting]
        locations = {*expired(settled, **self._rules), *waiting.intersection(expired(known, **self._rules))}
        if locations:  # a database is asked for nothing else
            locations -= {*self._store.marked({one.location: one.uuid for one in known if one.location in locations})}
        if locations:
            self._store.delete(*locations)
        return [one for one in known if one.location in locations]

    def _listed(self) -> list[Kept]:
        newest = islice(self._store.list(runs=self._runs), NEWEST if self._keeps_all else None)
        return [Kept.of(entry) for entry in newest]


def expired(known: Sequence[Kept], *, keep_best: int | None, keep_last: int | None) -> list[str]:
    """Returns the locations of the snapshots that are no longer kept: autosaves, and those that neither rule keeps.

    Args:
        known: the snapshots of one run, newest first.
        keep_best: as in `Retention`.
        keep_last: as in `Retention`.
    """
    lasting = [one for one in known if not one.autosave]
    kept = set(known[:1])
    if keep_best is None and keep_last is None:
        kept.update(lasting)
    else:
        kept.update(lasting[: keep_last or 1])
        scored = sorted((one for one in lasting if one.score is not None), key=lambda one: (one.score or 0.0, one.time))
        for kind in {one.kind for one in scored}:
            kept.update([one for one in scored if one.kind == kind][: keep_best or 0])
    return [one.location for one in known if one not in kept]
