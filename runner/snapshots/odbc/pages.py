"""Rows newest first, read a page at a time: the first of many costs little, and no connection waits for who reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runner.snapshots.odbc.session import Row

LAST_TIME = "9999-12-31 23:59:59"
FIRST_PAGE, LARGEST_PAGE = 8, 256

Fetch = Callable[[str, int], Sequence[Row]]
"""Returns so many of the newest rows up to a time."""


def rows(fetch: Fetch, until: str = LAST_TIME) -> Iterator[Row]:
    """Yields rows, newest first, as far as their times tell.

    A page begins with the time that the one before has ended with. So none is left out that is there all the while, whatever
    is written and deleted in between.
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
        # A page of nothing but one time says nothing of what is older, unless it is larger.
        count = count * 2 if page[0].time == last else min(count * 2, LARGEST_PAGE)
