"""Finds out how large a state is from its encoded stream: the length stands in the trailer, at the end of the last member."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from runner.errors import SnapshotError
from runner.snapshots import codecs
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.layout import TRAILER_SIZE, length_in

LONGEST = 64 << 20
"""Bytes that a last part may decode to. What is copied need not be ours: a megabyte may decode to a thousand."""


class Measured:
    """The members of a snapshot as they pass.

    Args:
        members: the members.
        codec: their codec.
    """

    def __init__(self, members: Iterable[Buffer], codec: Codec) -> None:
        self._members = members
        self._codec = codec
        self._last = b""

    def __iter__(self) -> Iterator[Buffer]:
        for member in self._members:
            self._last = bytes(member)  # a copy: its buffer may be used again for the next one
            yield member

    @property
    def state(self) -> int | None:
        """Bytes of the plain stream without its trailer; None if the last part was not a whole member."""
        end = b""
        with suppress(SnapshotError):
            for plain in codecs.decode(self._codec, [self._last], Budget(LONGEST)):
                end = (end + plain)[-TRAILER_SIZE:]
            return length_in(end)
        return None
