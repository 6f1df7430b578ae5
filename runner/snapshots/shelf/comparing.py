"""Compares the arrays of two snapshots while both are read, side by side and in little memory."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runner.memory import keep_freed
from runner.snapshots.format.reader import closed
from runner.snapshots.shelf.contents import Array, Contents, read_contents
from runner.snapshots.shelf.outline import SMALL, Content, Parts

BLOCK = 1 << 18
"""Bytes that are compared at a time; whole elements of every type."""
GUESS = "float32"
"""The type that arrays are taken for until it is known: it stands behind their contents."""

MOST_PASSES = 6
"""How often two snapshots are read at most for the sake of arrays that stand in another order, or share memory in only one."""

Open = Callable[[], Iterator[bytes]]


@dataclass
class Difference:
    """How two arrays differ.

    Attributes:
        equal: whether they are the same, byte for byte.
        largest: the largest absolute difference of two elements; None if they cannot be subtracted, or stand too crosswise.
        mean: the mean of the absolute differences.
        relative: the norm of the difference, relative to that of the first array.
    """

    equal: bool = True
    largest: float | None = None
    mean: float | None = None
    relative: float | None = None


@dataclass
class Comparison:
    """What two snapshots have in common.

    Attributes:
        first, second: what each holds.
        arrays: how the arrays differ that both have, by path; None where type or shape differ, so that they cannot be compared.
    """

    first: Contents
    second: Contents
    arrays: dict[str, Difference | None] = field(default_factory=dict)


def compare(first: Open, second: Open) -> Comparison:
    """Reads two snapshots side by side and compares their arrays.

    Contents are compared in the order in which they stand in the pickles, as arrays of floats. Only if that turns out to be
    wrong, such as after a layer was added, both are read again.

    Args:
        first, second: give the encoded snapshots, from their beginning.

    Raises:
        SnapshotDamagedError: one is not as it was written.
    """
    keep_freed()
    found, guessed = _pass(first, second, lambda number: number, {})
    ours, theirs = ({array.path: array for array in contents.arrays} for contents in (found.first, found.second))
    pairs = {path: (ours[path], theirs[path]) for path in ours if path in theirs}
    wanted = {
        _numbers(*pair): pair[0].dtype for pair in pairs.values() if _kind(pair[0]) == _kind(pair[1]) and _is_large(*pair)
    }
    compared = {at: pair for at, pair in guessed.items() if at in wanted and (pair.equal or pair.dtype == wanted[at])}
    for _ in range(MOST_PASSES):
        if not (partners := dict(_in_order(wanted.keys() - compared.keys()))):
            break
        types = {number: wanted[number, partner] for number, partner in partners.items()}
        compared |= _pass(first, second, partners.get, types)[1]
    for path, pair in pairs.items():
        found.arrays[path] = _result(*pair, compared) if _kind(pair[0]) == _kind(pair[1]) else None
    return found


def _kind(array: Array) -> tuple[str, tuple[int, ...], int]:
    return array.dtype, array.shape, array.content.size


def _numbers(one: Array, other: Array) -> tuple[int, int]:
    return one.content.number, other.content.number


def _is_large(one: Array, other: Array) -> bool:
    """Whether contents pass by; small ones are kept whole."""
    return one.content.size > SMALL


def _in_order(pairs: Collection[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields pairs of contents that can be compared in one pass: each once, and in the same order in both snapshots."""
    last = -1, -1
    for pair in sorted(pairs):
        if pair[0] > last[0] and pair[1] > last[1]:
            last = pair
            yield pair


def _result(one: Array, other: Array, compared: Mapping[tuple[int, int], _Pair]) -> Difference:
    if _is_large(one, other):
        pair = compared.get(_numbers(one, other))
        return Difference(False) if pair is None else pair.difference()
    pair = _Pair(one.dtype)
    pair.add(one.content.begin, other.content.begin)
    return pair.difference()


@dataclass
class _Pair:
    """Two contents that are compared, as elements of a type."""

    dtype: str
    equal: bool = True
    count: int = 0
    largest: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    norm: float = 0.0

    def add(self, one: bytes, other: bytes) -> None:
        """Compares the next bytes of both."""
        same = one == other
        self.equal = self.equal and same
        if (elements := _elements(one, self.dtype)) is None:
            return
        self.count += elements.size
        self.norm += float(np.vdot(elements, elements).real)
        if not same and (others := _elements(other, self.dtype)) is not None:
            apart = np.abs(elements - others)
            self.largest = float(np.maximum(self.largest, apart.max(initial=0.0)))
            self.total += float(apart.sum())
            self.squares += float(np.vdot(apart, apart))

    def difference(self) -> Difference:
        """Returns how they differ."""
        if self.equal:
            return Difference(True, 0.0, 0.0, 0.0)
        if not self.count:
            return Difference(False)
        relative = math.sqrt(self.squares / self.norm) if self.norm > 0 else math.inf if self.squares else 0.0
        return Difference(False, self.largest, self.total / self.count, relative)


def _elements(data: bytes, dtype: str) -> Any:
    """Returns the elements as numbers that can be subtracted; None for a type that has none, such as text."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    try:
        kind = np.dtype({"bool": "bool"}.get(dtype, dtype))
    except TypeError:
        return None
    if kind.kind not in "biufc" or len(data) % kind.itemsize:
        return None
    with np.errstate(all="ignore"):
        return np.frombuffer(data, kind).astype(np.complex128 if kind.kind == "c" else np.float64)


def _pass(
    first: Open, second: Open, partner_of: Callable[[int], int | None], types: Mapping[int, str]
) -> tuple[Comparison, dict[tuple[int, int], _Pair]]:
    """Reads both once.

    Args:
        first, second: the snapshots.
        partner_of: with which content of the second one of the first is compared.
        types: the types of the elements of the first's contents, as far as they are known.
    """
    compared: dict[tuple[int, int], _Pair] = {}
    with _Beside(second) as beside, closed(first()) as blocks:

        def visit(content: Content, pieces: Iterator[memoryview]) -> None:
            partner = partner_of(content.number)
            if partner is None or (parts := beside.reach(partner, content.size)) is None:
                return
            pair = compared[content.number, partner] = _Pair(types.get(content.number, GUESS))
            ours, left = Parts(pieces), content.size
            while left:
                step = min(left, BLOCK)
                pair.add(ours.take(step), parts.take(step))
                left -= step

        ours = read_contents(blocks, visit=visit)
        theirs = beside.rest()
    return Comparison(ours, theirs), compared


class _Beside:
    """A snapshot that another thread reads, from one content to the next as it is asked for them."""

    def __init__(self, open_blocks: Open) -> None:
        self._open = open_blocks
        self._arrived: queue.Queue[tuple[Content, Iterator[memoryview]] | None] = queue.Queue()
        self._taken: queue.Queue[bool] = queue.Queue()
        self._at: tuple[Content, Iterator[memoryview]] | None = None
        self._ended = False
        self._contents: Contents | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="diff")

    def __enter__(self) -> _Beside:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._pass_over()
        self._thread.join()

    def reach(self, number: int, size: int) -> Parts | None:
        """Goes on to a content, and returns it; None if it has been passed, or is of another size."""
        while not self._ended and (self._at is None or self._at[0].number < number):
            self._next()
        if self._at is None or self._at[0].number != number or self._at[0].size != size:
            return None
        return Parts(self._at[1])

    def rest(self) -> Contents:
        """Reads on to the end, and returns what the snapshot holds."""
        self._pass_over()
        self._thread.join()
        if self._contents is None:
            assert self._error is not None
            raise self._error
        return self._contents

    def _pass_over(self) -> None:
        while not self._ended:
            self._next()

    def _next(self) -> None:
        if self._at is not None:
            self._taken.put(True)
        self._at = self._arrived.get()
        self._ended = self._at is None

    def _read(self) -> None:
        try:
            with closed(self._open()) as blocks:
                self._contents = read_contents(blocks, visit=self._visit)
        except BaseException as error:
            self._error = error
        self._arrived.put(None)

    def _visit(self, content: Content, pieces: Iterator[memoryview]) -> None:
        self._arrived.put((content, pieces))
        self._taken.get()
