"""Reads rows newest first, a page at a time: the first row is cheap, and no statement is open while a caller uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runner.snapshots.odbc.session import Row

LAST_TIME = "9999-12-31 23:59:59"
FIRST_PAGE, LARGEST_PAGE, GROWTH = 8, 2048, 16

Fetch = Callable[[str, int], Sequence[Row]]
"""Returns the newest rows up to a time, at most a given number."""


def rows(fetch: Fetch, until: str = LAST_TIME) -> Iterator[Row]:
    """Yields rows, newest first, as far as their times are known.

    Each page begins at the time at which the previous one ended. So no row that exists throughout is missed, whatever is
    written and deleted in between.
    """
    count, seen = FIRST_PAGE, set[tuple[str, str]]()
    while True:
        page = fetch(until, count)
        fresh = [row for row in page if (row.id, row.name) not in seen]
        yield from fresh
        if len(page) < count:
            return
        last = page[-1].time
        seen = (seen if last == until else set()) | {(row.id, row.name) for row in page if row.time == last}
        until = last
        # If all rows of a page have the same time, only a larger page can reach older rows.
        count = count * GROWTH if page[0].time == last else min(count * GROWTH, LARGEST_PAGE)
