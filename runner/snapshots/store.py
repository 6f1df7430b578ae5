"""Where snapshots are kept: the protocol. The implementations are in `stores/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.header import Header


@dataclass(frozen=True)
class Entry:
    """A snapshot in a store: where it is and what its header says."""

    location: str
    header: Header


class Store(Protocol):
    """Keeps snapshots. These operations are all that a snapshotter and a restore need."""

    def prepare(self) -> None:
        """Checks, before a run spends time, that snapshots can be put, as far as that can be known."""

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        """Writes a snapshot and returns its location once it is durable. A failed put leaves nothing behind."""

    def open(self, location: str) -> Iterator[bytes]:
        """Yields the encoded bytes of a snapshot in blocks."""

    def list(self) -> Iterator[Entry]:
        """Yields the snapshots whose headers can be read, newest first, without reading their content."""

    def delete(self, location: str) -> None:
        """Removes a snapshot."""
