"""What may be a key, and what all keys of a pickle may cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import MemberDescriptorType
from typing import Any

from runner.errors import SnapshotRefusedError

KEY_NODES = 1_000
"""Objects in one key. The hash of a tuple is computed anew each time, through all that it holds."""
KEY_DEPTH = 200
"""How deep they may be nested; the hash recurses in C."""
KEY_BITS = 64
"""Bits of an integer in a key: what has more can be chosen to have the hash of another."""
COLLISIONS = 64
"""Keys of one container that may have the same hash: each is compared with all others."""
FREE_NODES = 1_000_000
"""Objects in all keys that are allowed, whatever the size of the pickle; one for each byte comes to them."""

SMALL = 256
"""Items of a container that nobody can choose to meet often enough to matter."""
FREE_SECONDS = 0.5
SECONDS_OF_KEY = 5e-6
"""Processor time that filling hash tables may take; it takes ten times as long for no honest keys."""

_CHEAP = frozenset({str, bytes, bool, float, type(None)})
"""Types whose hash is computed once or at once, and of which few have the same."""


class KeyBudget:
    """Bounds the work that keys of sets and mappings take, which their number in bytes does not tell."""

    def __init__(self) -> None:
        self._nodes = FREE_NODES
        self._seconds = FREE_SECONDS
        self._hashes: Counter[tuple[int, int]] = Counter()
        self._held: dict[int, Any] = {}

    def allow(self, size: int) -> None:
        """Takes note of so many bytes of the pickle."""
        self._nodes += size

    def check(self, keys: Iterable[Any]) -> None:
        """Checks keys, or parts of objects that may become keys.

        Raises:
            SnapshotRefusedError: a key holds too many objects, nests them too deeply, or has too large a number.
        """
        for key in keys:
            self._check(key)

    def check_of(self, target: Any, key: Any) -> None:
        """Checks a key of a container, and that not too many keys there have the same hash."""
        kind = type(key)
        if kind in _CHEAP or (kind is int and key.bit_length() <= KEY_BITS):  # at most 16 of these have the same
            return
        self._check(key)
        self._held[id(target)] = target  # so that no other object gets its identity
        place = id(target), hash(key)
        self._hashes[place] += 1
        if self._hashes[place] > COLLISIONS:
            raise SnapshotRefusedError(f"more than {COLLISIONS} keys have the same hash")

    @contextmanager
    def timed(self, count: int) -> Iterator[None]:
        """Measures how long it takes to put keys into a hash table.

        Integers are their own hash, and that of other numbers and of tuples can be computed. Keys can thus be chosen such that
        each passes by the slots of all others there. How many meet is not to be seen from outside, and takes longer to find out
        than to fill an honest table; the time that they take tells.

        Args:
            count: how many keys.

        Raises:
            SnapshotRefusedError: they take much longer than keys do.
        """
        began = time.thread_time()
        yield
        self._seconds += count * SECONDS_OF_KEY - (time.thread_time() - began)
        if self._seconds < 0:
            raise SnapshotRefusedError("its keys were chosen to meet one another in hash tables")

    def _check(self, key: Any) -> None:
        level, nodes = [key], 0
        for _ in range(KEY_DEPTH):
            for item in level:
                if type(item) is int and item.bit_length() > KEY_BITS:
                    raise SnapshotRefusedError(f"a key has a number of more than {KEY_BITS} bits")
            parts = [held for item in level if type(item) not in _CHEAP for held in _parts(item)]
            nodes += sum(map(len, parts))
            if not parts:
                self._spend(nodes)
                return
            if nodes > KEY_NODES:
                break
            level = [item for part in parts for item in part]
        raise SnapshotRefusedError(f"a key holds more than {KEY_NODES} objects, or nests more than {KEY_DEPTH}")

    def _spend(self, nodes: int) -> None:
        self._nodes -= nodes
        if self._nodes < 0:
            raise SnapshotRefusedError("its keys hold more objects than it has bytes")


def _parts(item: Any) -> Iterable[Any]:
    """Returns the collections that the hash of an object may depend on."""
    if isinstance(item, tuple | frozenset):
        return (item,)
    if type(item) in (int, complex):
        return ()
    hashing: object = type(item).__hash__
    if hashing is object.__hash__:
        return ()
    slots = [name for owner in type(item).__mro__ for name, value in vars(owner).items() if type(value) is MemberDescriptorType]
    values = [getattr(item, name, None) for name in slots] + list(getattr(item, "__dict__", {}).values())
    return (values,) if values else ()
