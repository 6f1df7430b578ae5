"""Writing on snapshots: what is there already is read and written again, which two commands may not do at once."""

from __future__ import annotations

from collections.abc import Callable

from runner.errors import RunInUseError
from runner.snapshots.claims import Claims
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Entry, Store

PATIENCE = 30.0
"""Seconds to wait for another command, which takes a fraction of one."""


def rewrite(entry: Entry, store: Store, owner: Store, change: Callable[[Mark], Mark]) -> Mark:
    """Changes what is written on a snapshot, while no other command does, and returns what is written now.

    Args:
        entry: the snapshot.
        store: where it was found.
        owner: the store that it lies in, which may be a folder below that one.
        change: returns what is written from now on.

    Raises:
        RunInUseError: another command does not come to its end.
    """
    # Not for lists: it imports asyncio, which takes a fifth of their start.
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

    with Claims() as claims:
        again = retry_if_exception_type(RunInUseError)
        Retrying(retry=again, wait=wait_random(0.02, 0.2), stop=stop_after_delay(PATIENCE), reraise=True)(
            claims.take, owner, "marks", None
        )
        mark = change(owner.marks().get(entry.header.uuid) or Mark(entry.header.uuid))
        store.mark(entry.location, mark)
        return mark
