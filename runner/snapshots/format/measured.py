"""Finds out how large a state is from its encoded stream: the length stands in the trailer, at the end of the last member."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from runner.errors import SnapshotError
from runner.snapshots import codecs
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.layout import length_in


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
        with suppress(SnapshotError):
            return length_in(b"".join(codecs.decode(self._codec, [self._last])))
        return None
