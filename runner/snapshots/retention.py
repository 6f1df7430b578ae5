"""Which snapshots of a run are no longer kept."""

from __future__ import annotations

from collections.abc import Sequence

from runner.snapshots.stores.store import Entry


def expired(entries: Sequence[Entry], *, keep_best: int | None, keep_last: int | None) -> list[Entry]:
    """Returns the entries that neither rule keeps.

    Args:
        entries: the snapshots of one run, newest first. The newest is always kept.
        keep_best: so many with the lowest score are kept; of equal ones the newer.
        keep_last: so many of the newest are kept.
    """
    if keep_best is None and keep_last is None:
        return []
    kept = {entry.location for entry in entries[: keep_last or 1]}
    scored = [entry for entry in entries if entry.header.score is not None]
    kept |= {entry.location for entry in sorted(scored, key=lambda entry: entry.header.score or 0.0)[: keep_best or 0]}
    return [entry for entry in entries if entry.location not in kept]
