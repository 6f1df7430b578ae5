"""Reads rows newest first, a page at a time: the first row is cheap, and no statement is open while a caller uses it.

Who has read to a page of the largest size will read on: the next one is on its way meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runner.snapshots.odbc.session import Row

LAST_TIME = "9999-12-31 23:59:59"
FIRST_PAGE, LARGEST_PAGE, GROWTH = 8, 2048, 16

Begin = Callable[[str, int], Callable[[], Sequence[Row]]]
"""Begins to fetch the newest rows up to a time, at most a given number; returns what returns them."""


def rows(begin: Begin, until: str = LAST_TIME) -> Iterator[Row]:
    """Yields rows, newest first, as far as their times are known.

    Each page begins at the time at which the previous one ended. So no row that exists throughout is missed, whatever is
    written and deleted in between.
    """
    count, seen = FIRST_PAGE, set[tuple[str, str]]()
    page = begin(until, count)()
    while True:
        fresh = [row for row in page if (row.id, row.name) not in seen]
        if len(page) < count:
            yield from fresh
            return
        is_long = count >= LARGEST_PAGE
        last = page[-1].time
        seen = (seen if last == until else set()) | {(row.id, row.name) for row in page if row.time == last}
        until = last
        # If all rows of a page have the same time, only a larger page can reach older rows.
        count = count * GROWTH if page[0].time == last else min(count * GROWTH, LARGEST_PAGE)
        following = begin(until, count) if is_long else None
        yield from fresh
        page = (following or begin(until, count))()
