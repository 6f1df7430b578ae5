"""The interface of a store: everything that a snapshotter and a restore ask of the place where snapshots are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from runner.errors import SnapshotError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header


@dataclass(frozen=True)
class Entry:
    """A snapshot in a store: where it is and what its header says."""

    location: str
    header: Header

    @property
    def newest_last(self) -> str:
        """What entries are sorted by; times in headers are UTC with microseconds, so that they sort as text."""
        return self.header.time


Unreadable = Callable[[str, SnapshotError], object]
"""Told of a snapshot whose header cannot be read: where it is, and why."""


def ignore(location: str, error: SnapshotError) -> None:
    """Ignores a snapshot that cannot be read."""


class Store(ABC):
    """Keeps snapshots.

    To add one, write a subclass and add its URL scheme to the table in `runner.snapshots.stores`; nothing else names a store.
    The contract that the tests hold every store to is in tests/contract/test_stores.py.

    Attributes:
        mode: permissions of the files that it makes; the umask's if None.
    """

    mode: int | None = None

    @classmethod
    @abstractmethod
    def of(cls, location: str) -> Self:
        """Returns the store in which a location lies, without looking whether it is there."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the snapshots are, without any of them: a folder, or a URL; no passwords."""

    @abstractmethod
    def prepare(self) -> None:
        """Proves, before a run spends time, that snapshots can be put, as far as that can be known."""

    @abstractmethod
    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        """Writes a snapshot, and returns its location once it is there and durable. A put that fails leaves nothing behind."""

    @abstractmethod
    def open(self, location: str) -> Iterator[bytes]:
        """Yields the encoded bytes of a snapshot in blocks. A restore may open it twice."""

    @abstractmethod
    def list(
        self, unreadable: Unreadable = ignore, *, runs: Collection[str] | None = None, workflow: str | None = None
    ) -> Iterator[Entry]:
        """Yields the snapshots, newest first, without reading their content.

        It reads as it is asked: the first of 100,000 snapshots costs no more than the first of ten, and a store that can, reads
        nothing of other runs or workflows.

        Args:
            unreadable: told of each snapshot whose header cannot be read, as far as it was read.
            runs: only those that these processes wrote (`Header.run_id`). Default: of all.
            workflow: only those of workflows of this name. Default: of all.
        """

    @abstractmethod
    def find(self, location: str) -> str:
        """Returns the full location of the snapshot that a location names, which may be an abbreviation of it.

        Raises:
            SnapshotNotFoundError: there is none.
            SnapshotAmbiguousError: it fits several runs.
        """

    @abstractmethod
    def delete(self, *locations: str) -> None:
        """Removes snapshots; a database removes all or none."""

    @property
    def identity(self) -> str:
        """What this store is, however its place is spelled: two stores of one identity are the same."""
        return self.place


def selected(header: Header, runs: Collection[str] | None, workflow: str | None) -> bool:
    """Whether a header is of these runs and of this workflow."""
    return (runs is None or header.run_id in runs) and (workflow is None or header.workflow == workflow)
