"""The interface of a store: all that a snapshotter and a restore need from the place where snapshots are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

from runner.errors import SnapshotError, StoreError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.stores.marks import Mark


@dataclass(frozen=True)
class Entry:
    """A snapshot in a store: its location and its header, and what the store can tell of it at no cost.

    Attributes:
        location: where it is.
        header: its header.
        stored: bytes that it takes in the store; None if that is not known.
        encoding: the name of the codec that it is encoded with now; that of its header is the first it had.
        state: bytes of its plain stream; None if that is not known.
    """

    location: str
    header: Header
    stored: int | None = None
    encoding: str | None = None
    state: int | None = None

    @property
    def codec(self) -> str:
        """The name of the codec that it is encoded with, as far as is known."""
        return self.encoding or self.header.codec

    @property
    def newest_last(self) -> str:
        """The sort key of entries. Times in headers are UTC with microseconds, so they sort as text."""
        return self.header.time


CODE_LIMIT = 32 << 20
"""Bytes that are read of the code of a run."""

Unreadable = Callable[[str, SnapshotError], object]
"""Called for each snapshot whose header cannot be read, with its location and the error."""


def ignore(location: str, error: SnapshotError) -> None:
    """Ignores unreadable snapshots."""


class Store(ABC):
    """Keeps snapshots.

    To add a store, write a subclass and add its URL scheme to the table in `runner.snapshots.stores`. Nothing else names it.
    tests/contract/test_stores.py has the contract that every store must fulfill.

    Attributes:
        can_be_away: whether it is beyond a network, so that snapshots may have to wait for it in a spool.
        mode: permissions of the files that it creates; the umask's if None.
    """

    can_be_away: bool = False
    mode: int | None = None

    @classmethod
    @abstractmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        """Returns the store at a place, as `place` gives it, without checking whether it exists.

        Args:
            place: a folder or a URL.
            mode: permissions of the files that it creates, if it has any.
        """

    @classmethod
    @abstractmethod
    def of(cls, location: str) -> Self:
        """Returns the store that a location belongs to, without checking whether it exists."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the store is: a folder or a URL, without passwords."""

    @abstractmethod
    def prepare(self) -> None:
        """Checks before a run starts, as far as possible, that snapshots can be written."""

    @abstractmethod
    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        """Writes a snapshot and returns its location once it is durable. A put that fails leaves nothing behind.

        One that is there already, by its UUID, is not written again, also if two processes write it at once.
        """

    @abstractmethod
    def open(self, location: str) -> Iterator[bytes]:
        """Yields the encoded bytes of a snapshot in blocks. A restore may open it twice."""

    @abstractmethod
    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        """Yields the snapshots, newest first, without reading their content.

        Snapshots are read lazily: the first of 100,000 costs no more than the first of ten. If it can, a store skips other runs
        and workflows without reading them.

        Args:
            unreadable: called for each unreadable header that is come across.
            runs: only snapshots that these processes wrote (`Header.run_id`). Default: all.
            workflow: only snapshots of workflows with this name. Default: all.
            apart_from: no snapshots that these processes wrote. It may grow meanwhile: a caller that has seen one of a process
                can have the others left out.
        """

    @abstractmethod
    def find(self, location: str) -> str:
        """Returns the full location of the snapshot that a location, possibly abbreviated, refers to.

        Raises:
            SnapshotNotFoundError: there is no such snapshot.
            SnapshotAmbiguousError: the location matches several runs.
        """

    @abstractmethod
    def delete(self, *locations: str) -> None:
        """Deletes snapshots; a database deletes all or none of them."""

    def keep_code(self, digest: str, data: bytes) -> None:  # noqa: B027 a store need not keep it
        """Keeps the code of a run beside its snapshots, once for all of them. A store that cannot does nothing.

        Args:
            digest: what it is called in headers.
            data: the code, as `KeptCode.packed` returns it.
        """

    def kept_code(self, digest: str) -> bytes | None:
        """Returns the code that is kept under a digest; None if there is none."""
        return None

    def marks(self) -> Mapping[str, Mark]:
        """Returns what is written on the snapshots, by UUID. A store that keeps no marks has none."""
        return {}

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        """Returns the locations of those among some snapshots on which something is written.

        Args:
            uuids: the UUID of each snapshot by its location.
        """
        marks = self.marks()
        return [location for location, uuid in uuids.items() if marks.get(uuid)]

    def mark(self, location: str, mark: Mark) -> None:
        """Writes on a snapshot, over what was there; an empty mark is taken away.

        It is durable on return; otherwise what was there before is still there.

        Raises:
            StoreError: this store keeps no marks, or refuses.
        """
        raise StoreError(f"{self.place} keeps no tags and no notes")

    def claimed(self, run: str) -> AbstractContextManager[None]:
        """Claims a run for the block, so that no other process goes on with it here. A store without locks claims nothing.

        The claim of a process that has ended, however it has, is void.

        Args:
            run: identifies the run: 16 hexadecimal digits.

        Raises:
            RunInUseError: another process has claimed it.
        """
        return nullcontext()

    def hurried(self) -> Store:
        """Returns the same store for a snapshot that has to be durable soon: it goes where that surely takes no long time."""
        return self

    def has_settled(self, location: str) -> bool:
        """Whether a snapshot of this store is where it belongs; one that waits in a spool is not."""
        return True

    @property
    def identity(self) -> str:
        """Identifies the store, however its place is spelled: two stores with the same identity are the same store."""
        return self.place


def code_name(digest: str) -> str:
    """Returns the name under which code is kept, from what a header, which may be forged, says of it."""
    return digest[:32] if digest.isalnum() and digest.isascii() else "none"


def selected(header: Header, runs: Collection[str] | None, workflow: str | None, apart_from: Collection[str] = ()) -> bool:
    """Whether a header belongs to one of these runs and to this workflow."""
    wanted = (runs is None or header.run_id in runs) and header.run_id not in apart_from
    return wanted and (workflow is None or header.workflow == workflow)
