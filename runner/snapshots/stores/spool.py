"""A spool: a local folder for snapshots that another store refuses, until it accepts them."""

from __future__ import annotations

import fcntl
import hashlib
import heapq
import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

from runner.errors import ConfigError, SnapshotError, StoreAwayError, StoreError, StoreSpooledError
from runner.snapshots import codecs
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import verify
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import missing
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore

log = logging.getLogger(__name__)

BLOCK = 4 << 20
DEFAULT_SPOOL = "outputs/spool"
"""The folder for snapshots that a store beyond a network refuses; always the same, so that the next run finds them."""

_REFUSALS = (StoreError, ConfigError)


class SpoolStore(Store):
    """Writes snapshots to another store, or to a local folder while that store refuses them.

    Each snapshot is also copied to a temporary file, so that it can be written again if the connection breaks in the middle. A
    snapshot in the spool is a file like any other: it is durable and listed, and a run can be resumed from it. It is verified
    before it is delivered, and removed once the store confirms that it is complete. A snapshot that the store never accepts
    stays in the spool and does not hold up the others. After a crash in between, the snapshot is in both places, and the next
    delivery recognizes it by its UUID. A lock on the file lets only one process deliver it.

    When time is short, a snapshot goes to the spool first (`hurried`): nobody knows how long another store takes to answer.

    Args:
        store: where the snapshots belong.
        directory: the folder; each store has its own subfolder.
        go_on: whether a snapshot in the spool counts as a success. If not, `put` raises the store's error.
        mode: permissions of the files, as in `FileStore`.
    """

    def __init__(self, store: Store, directory: str | Path, go_on: bool = True, mode: int | None = None) -> None:
        self._store = store
        name = hashlib.sha256(store.identity.encode()).hexdigest()[:12]
        self._spool = _SpoolFiles(Path(directory) / name, mode)
        self.mode = mode
        self._go_on = go_on
        self._spool_first = False

    @classmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        raise ConfigError(f"{place!r} has no spool by itself: a spool belongs to another store")

    @classmethod
    def of(cls, location: str) -> Self:
        raise ConfigError(f"{location!r} is not in a spool: a spool belongs to another store")

    def __str__(self) -> str:
        return str(self._store)

    @property
    def place(self) -> str:
        return self._store.place

    @property
    def identity(self) -> str:
        return self._store.identity

    def prepare(self) -> None:
        self._store.prepare()

    def hurried(self) -> Store:
        hurried = copy(self)
        hurried._spool_first = True
        return hurried

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        if self._spool_first:
            return self._put_in_spool(header, codec, members)
        try:
            if self.waiting:
                self._store.prepare()  # fails quickly if the server is away
        except _REFUSALS as refusal:
            return self._keep(header, codec, members, refusal)
        with _copied(members, self._spool.directory, self.mode) as copied:
            try:
                location = self._put(header, codec, copied)
            except _REFUSALS as refusal:
                return self._keep(header, codec, copied.again(), refusal)
        self._deliver(again=False)
        return location

    def _put(self, header: Header, codec: Codec, copied: _Copy) -> str:
        try:
            return self._store.put(header, codec, copied)
        except StoreAwayError as error:
            if not copied.begun:
                raise  # the store has already waited for its server
            log.warning("%s; writing the snapshot again", str(error))
            return self._store.put(header, codec, copied.again())

    def _put_in_spool(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        # Names are unique, so that the location of a delivered snapshot is never reused for another one.
        return self._spool.put(replace(header, name=f"{header.name}_{header.uuid[:8]}"), codec, members)

    def _keep(self, header: Header, codec: Codec, members: Iterable[Buffer], refusal: Exception) -> str:
        first = not self.waiting
        try:
            location = self._put_in_spool(header, codec, members)
        except StoreError as error:
            raise StoreError(f"{refusal}; the spool cannot take it either: {error}") from refusal
        if not self._go_on:
            raise StoreSpooledError(
                f"{refusal}; the snapshot is {location}, from which the run can be resumed", location
            ) from refusal
        if first:
            log.warning("%s; snapshots wait in %s until it accepts them", refusal, self._spool)
        return location

    def open(self, location: str) -> Iterator[bytes]:
        store, location = self._where(location)
        return store.open(location)

    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        listed = (
            store.list(unreadable, runs=runs, workflow=workflow, apart_from=apart_from) for store in (self._spool, self._store)
        )
        return heapq.merge(*listed, key=lambda entry: entry.newest_last, reverse=True)

    def find(self, location: str) -> str:
        store, location = self._where(location)
        return store.find(location)

    def delete(self, *locations: str) -> None:
        places = [self._where(location) for location in locations]
        for store in (self._spool, self._store):
            if there := [location for of, location in places if of is store]:
                store.delete(*there)

    def keep_code(self, digest: str, data: bytes) -> None:
        try:
            (self._spool if self._spool_first else self._store).keep_code(digest, data)
        except _REFUSALS:
            self._spool.keep_code(digest, data)

    def has_settled(self, location: str) -> bool:
        return self._where(location)[0] is self._store

    def kept_code(self, digest: str) -> bytes | None:
        return self._spool.kept_code(digest) or self._store.kept_code(digest)

    def marks(self) -> Mapping[str, Mark]:
        return {**self._store.marks(), **self._spool.marks()}

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        waiting = {location: uuid for location, uuid in uuids.items() if not self.has_settled(location)}
        settled = {_delivered.get(location, location): location for location in uuids.keys() - waiting.keys()}
        # The store itself may be away: it is not asked for what waits.
        found = self._store.marked({now: uuids[location] for now, location in settled.items()}) if settled else []
        return [*self._spool.marked(waiting), *(settled[now] for now in found)]

    def mark(self, location: str, mark: Mark) -> None:
        store, location = self._where(location)
        store.mark(location, mark)

    def claimed(self, run: str) -> AbstractContextManager[None]:
        return self._store.claimed(run)

    def _where(self, location: str) -> tuple[Store, str]:
        """Returns which store has a snapshot, and its location there: it may have been delivered in the meantime."""
        location = _delivered.get(location, location)
        return (self._spool if Path(location).parent == self._spool.directory else self._store), location

    def deliver(self) -> Mapping[str, str]:
        """Retries all waiting snapshots; returns the new locations of the delivered ones by UUID."""
        return self._deliver(again=True)

    @property
    def waiting(self) -> Sequence[str]:
        """The locations of the snapshots that are not delivered yet, including damaged ones."""
        damaged: list[str] = []
        whole = [entry.location for entry in self._spool.list(lambda location, error: damaged.append(location))]
        return [*whole, *damaged]

    def _deliver(self, again: bool) -> dict[str, str]:
        """Delivers waiting snapshots, oldest first. Skips damaged and refused ones, and ends when the store is away.

        Args:
            again: whether to retry snapshots that the store has already refused in this process.
        """
        delivered: dict[str, str] = {}
        entries = list(self._spool.list(_tell_damaged))
        waiting = [entry for entry in reversed(entries) if again or entry.location not in _refused]
        try:
            if waiting and again:
                self._store.prepare()  # fails quickly if the server is away
            for entry in waiting:
                self._deliver_one(entry, delivered)
        except _REFUSALS as refusal:
            log.warning("%s; snapshots wait in %s until it accepts them", refusal, self._spool)
        return delivered

    def _deliver_one(self, entry: Entry, delivered: dict[str, str]) -> None:
        with _claimed(entry.location) as ours:
            if not ours:
                return
            try:
                location = self._taken(entry)
            except StoreAwayError:
                raise
            except (*_REFUSALS, SnapshotError) as refusal:
                _refused.add(entry.location)
                log.warning("Snapshot %s cannot be delivered and stays there: %s", entry.location, refusal)
                return
            self._spool.delete(entry.location)
        delivered[entry.header.uuid] = _delivered[entry.location] = location
        log.info("Snapshot delivered: %s is now %s", entry.location, location)

    def _taken(self, entry: Entry) -> str:
        """Writes a waiting snapshot to the store, unless it is there already; returns its location there."""
        verify(self._spool.open(entry.location))
        for known in self._store.list(runs=[entry.header.run_id]):
            if known.header.uuid == entry.header.uuid and _is_whole(self._store.open(known.location)):
                return known.location
        if entry.header.kept_code and (code := self._spool.kept_code(entry.header.kept_code)) is not None:
            self._store.keep_code(entry.header.kept_code, code)
        codec = codecs.detect(next(self._spool.open(entry.location), b""))  # its header might name another codec
        return self._store.put(entry.header, codec, self._spool.open(entry.location))


class _SpoolFiles(FileStore):
    """The files of a spool. They come and go, and no link leads to the newest."""

    def _point_current(self, temporary: Path, prefix: str, path: Path, extension: str) -> None:
        pass


_delivered: dict[str, str] = {}
"""The locations to which this process has delivered files from spools."""
_refused: set[str] = set()
"""Files that a store has refused while it accepted others. They are retried when a run starts or ends."""


def deliver(store: Store) -> Mapping[str, str]:
    """Delivers the snapshots in a store's spool, if it has one; returns their new locations by UUID."""
    return store.deliver() if isinstance(store, SpoolStore) else {}


def waiting(store: Store) -> Sequence[str]:
    """Returns the locations of the snapshots that wait in a store's spool."""
    return store.waiting if isinstance(store, SpoolStore) else ()


def _tell_damaged(location: str, error: SnapshotError) -> None:
    if location not in _refused:
        _refused.add(location)
        log.warning("Snapshot %s cannot be delivered and stays there: %s", location, error)


def _is_whole(blocks: Iterator[bytes]) -> bool:
    try:
        verify(blocks)
    except SnapshotError:
        return False
    return True


class _Copy:
    """A stream whose members are copied to a file as they pass, so that it can be read again.

    If the file cannot be written, that is an error only when the stream is read again.
    """

    def __init__(self, members: Iterable[Buffer], file: IO[bytes] | OSError) -> None:
        self._members = iter(members)
        self._file = file
        self.begun = False

    def __iter__(self) -> Iterator[Buffer]:
        self.begun = True
        for member in self._members:
            self._write(member)
            yield member

    def _write(self, member: Buffer) -> None:
        view = memoryview(member)
        try:
            while view and not isinstance(self._file, OSError):
                view = view[self._file.write(view) :]
        except OSError as error:
            self._file = error

    def again(self) -> Iterator[Buffer]:
        """Yields the whole stream from the start: the members that have passed, and those that have not."""
        for _ in self:
            pass
        if isinstance(self._file, OSError):
            raise StoreError(f"the copy of the snapshot cannot be written: {self._file}") from self._file
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            yield block


@contextmanager
def _copied(members: Iterable[Buffer], directory: Path, mode: int | None) -> Iterator[_Copy]:
    """Copies the stream to a file without a name, of which nothing is left, whatever happens."""
    with ExitStack() as stack:
        file: IO[bytes] | OSError
        try:
            for folder in missing(directory):
                with suppress(FileExistsError):  # another process was quicker
                    FileStore.files.mkdir(folder, mode)
            file = stack.enter_context(tempfile.TemporaryFile(dir=directory, buffering=0))
        except OSError as error:
            file = error
        yield _Copy(members, file)


@contextmanager
def _claimed(location: str) -> Iterator[bool]:
    """Locks a waiting file. Yields False if another process has delivered it in the meantime."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(location, "rb"))
        except FileNotFoundError:
            yield False
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Path(location).exists()


def with_spool(store: Store, spool: str | None, on_error: str | None, mode: int | None) -> Store:
    """Wraps a store in a spool; returns it as it is if it is to have none.

    Args:
        store: the store.
        spool: the folder; empty for none. Default: `DEFAULT_SPOOL` if the store can be away, else none.
        on_error: as in `SnapshotterSettings`.
        mode: permissions of the files in the spool.
    """
    spool = DEFAULT_SPOOL if spool is None and store.can_be_away else spool
    return SpoolStore(store, spool, on_error != "raise", mode) if spool else store
