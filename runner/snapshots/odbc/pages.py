"""Reads rows newest first, a page at a time: the first row is cheap, and no connection stays open while a caller uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing

from runner.snapshots.odbc.session import Row
from runner.thread_pool import Threads, made

LAST_TIME = "9999-12-31 23:59:59"
FIRST_PAGE, LARGEST_PAGE, GROWTH = 8, 2048, 4
AHEAD = 512
"""Rows of a page from which it is fetched while the caller is still busy with the one before it."""

Fetch = Callable[[str, int], Sequence[Row]]
"""Returns the newest rows up to a time, at most a given number."""


def rows(fetch: Fetch, until: str = LAST_TIME) -> Iterator[Row]:
    """Yields rows, newest first, as far as their times are known.

    Each page begins at the time at which the previous one ended. So no row that exists throughout is missed, whatever is
    written and deleted in between.
    """
    count, seen = FIRST_PAGE, set[tuple[str, str]]()
    with closing(Threads(1, "page", daemon=True)) as thread:
        coming: Future[Sequence[Row]] = made(fetch, until, count)
        while True:
            page = coming.result()
            fresh = [row for row in page if (row.id, row.name) not in seen]
            if len(page) < count:
                yield from fresh
                return
            last = page[-1].time
            seen = (seen if last == until else set()) | {(row.id, row.name) for row in page if row.time == last}
            until = last
            # If all rows of a page have the same time, only a larger page can reach older rows.
            count = count * GROWTH if page[0].time == last else min(count * GROWTH, LARGEST_PAGE)
            if count >= AHEAD:
                coming = thread.start(fetch, until, count)
                yield from fresh
            else:
                yield from fresh
                coming = made(fetch, until, count)
