"""Finds a number for a snapshot whose name is taken."""

from __future__ import annotations

from collections.abc import Callable


def first_free(taken: Callable[[int], bool], first: int) -> int:
    """Returns a free number: `first`, or one that follows a number that is taken.

    If n numbers are taken, it tries about 2 log(n) of them instead of all.
    """
    if not taken(first):
        return first
    last_taken, step = first, 1
    while taken(last_taken + step):
        last_taken += step
        step *= 2
    free = last_taken + step
    while free - last_taken > 1:
        middle = (last_taken + free) // 2
        if taken(middle):
            last_taken = middle
        else:
            free = middle
    return free
