"""Where snapshots are kept: the protocol. The implementations are in `stores/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.errors import SnapshotError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header


@dataclass(frozen=True)
class Entry:
    """A snapshot in a store: where it is and what its header says."""

    location: str
    header: Header


Unreadable = Callable[[str, SnapshotError], object]


def ignore(location: str, error: SnapshotError) -> None:
    """Tells nobody of a snapshot that cannot be read."""


class Store(Protocol):
    """Keeps snapshots. These operations are all that a snapshotter and a restore need."""

    @property
    def place(self) -> str:
        """Where the snapshots are, without any of them: a folder, or `odbc://...`; no passwords."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Checks, before a run spends time, that snapshots can be put, as far as that can be known."""

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        """Writes a snapshot and returns its location once it is durable. A failed put leaves nothing behind."""

    def open(self, location: str) -> Iterator[bytes]:
        """Yields the encoded bytes of a snapshot in blocks. A restore may open it twice."""

    def list(self, unreadable: Unreadable = ignore) -> Iterator[Entry]:
        """Yields the snapshots, newest first, without reading their content.

        Args:
            unreadable: told of each one whose header cannot be read, and why.
        """

    def delete(self, *locations: str) -> None:
        """Removes snapshots: from a database all or none."""

    def deliver(self) -> Mapping[str, str]:
        """Tries again what was refused before; returns, by UUID, where each snapshot that was taken is now."""
        return {}

    @property
    def waiting(self) -> Sequence[str]:
        """Where the snapshots are that this store has refused so far."""
        return ()
