"""A spool: a local folder for what another store refuses, until that takes it."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from runner.errors import ConfigError, StoreAwayError, StoreError
from runner.snapshots import codecs
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore

log = logging.getLogger(__name__)

BLOCK = 4 << 20
DEFAULT_SPOOL = "outputs/spool"
"""The folder for what a database refuses; always the same, so that the next run finds it."""

_REFUSALS = (StoreError, ConfigError)


class SpoolStore(Store):
    """Puts into another store, and into a local folder while that refuses.

    What passes is copied to a temporary file, so that it can be put once more when the connection breaks in the middle. A
    snapshot in the spool is a file like any other: it is durable, it is listed, and a run can be resumed from it. It is removed
    once the store has it. At a crash in between it is in both, and the next delivery finds it there by its UUID. Processes that
    deliver at once lock the file, so that one of them does.

    Args:
        store: where the snapshots belong.
        directory: the folder; each store has a folder in it.
        go_on: whether a snapshot in the spool will do; if not, `put` raises what the store said.
    """

    def __init__(self, store: Store, directory: str | Path, go_on: bool = True) -> None:
        self._store = store
        name = hashlib.sha256(str(store).encode()).hexdigest()[:12]
        self._spool = FileStore(Path(directory) / name)
        self._go_on = go_on

    def __str__(self) -> str:
        return str(self._store)

    @property
    def place(self) -> str:
        return self._store.place

    def prepare(self) -> None:
        self._store.prepare()

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        try:
            self._deliver({})
        except _REFUSALS as refusal:
            return self._keep(header, codec, members, refusal)
        with _copied(members, self._spool.directory) as copy:
            try:
                return self._put(header, codec, copy)
            except _REFUSALS as refusal:
                return self._keep(header, codec, copy.again(), refusal)

    def _put(self, header: Header, codec: Codec, copy: _Copy) -> str:
        try:
            return self._store.put(header, codec, copy)
        except StoreAwayError as error:
            if not copy.begun:
                raise  # the store has waited for its server
            log.warning("%s; putting the snapshot once more", error)
            return self._store.put(header, codec, copy.again())

    def _keep(self, header: Header, codec: Codec, members: Iterable[Buffer], refusal: Exception) -> str:
        first = not self.waiting
        try:
            location = self._spool.put(header, codec, members)
        except StoreError as error:
            raise StoreError(f"{refusal}; nor does the spool take it: {error}") from refusal
        if not self._go_on:
            raise StoreError(f"{refusal}; the snapshot is {location}, from which the run can be resumed") from refusal
        if first:
            log.warning("%s; snapshots wait in %s until it takes them", refusal, self._spool)
        return location

    def open(self, location: str) -> Iterator[bytes]:
        return self._of(location).open(location)

    def list(self, unreadable: Unreadable = ignore) -> Iterator[Entry]:
        entries = [*self._spool.list(unreadable), *self._store.list(unreadable)]
        yield from sorted(entries, key=lambda entry: entry.header.time, reverse=True)

    def delete(self, *locations: str) -> None:
        for store in (self._spool, self._store):
            if there := [location for location in locations if self._of(location) is store]:
                store.delete(*there)

    def _of(self, location: str) -> Store:
        return self._spool if Path(location).parent == self._spool.directory else self._store

    def deliver(self) -> Mapping[str, str]:
        delivered: dict[str, str] = {}
        try:
            self._deliver(delivered)
        except _REFUSALS as refusal:
            log.warning("%s; snapshots wait in %s until it takes them", refusal, self._spool)
        return delivered

    @property
    def waiting(self) -> Sequence[str]:
        return [entry.location for entry in self._spool.list()]

    def _deliver(self, delivered: dict[str, str]) -> None:
        """Puts what is waiting, the oldest first, and notes where it is then; raises at the first refusal."""
        entries = list(self._spool.list())
        if entries:
            self._store.prepare()  # says soon whether the server is away
        for entry in reversed(entries):
            with _claimed(entry.location) as ours:
                if not ours:
                    continue
                delivered[entry.header.uuid] = self._find(entry.header.uuid) or self._store.put(
                    entry.header, self._codec_of(entry.location), self._spool.open(entry.location)
                )
                self._spool.delete(entry.location)
            log.info("Snapshot delivered: %s is now %s", entry.location, delivered[entry.header.uuid])

    def _codec_of(self, location: str) -> Codec:
        """Returns the codec by which a snapshot is read; its header might name another."""
        return codecs.detect(next(self._spool.open(location), b""))

    def _find(self, uuid: str) -> str | None:
        return next((entry.location for entry in self._store.list() if entry.header.uuid == uuid), None)


class _Copy:
    """A stream whose members are copied to a file as they pass, so that it can be had again.

    A file that cannot be written is an error only when the stream is wanted again.
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
        """Yields the whole stream: what has passed, and what has not passed yet."""
        for _ in self:
            pass
        if isinstance(self._file, OSError):
            raise StoreError(f"the copy of the snapshot cannot be written: {self._file}") from self._file
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            yield block


@contextmanager
def _copied(members: Iterable[Buffer], directory: Path) -> Iterator[_Copy]:
    """Copies the stream to a file without a name: whatever happens, nothing of it is left."""
    with ExitStack() as stack:
        file: IO[bytes] | OSError
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.TemporaryFile(dir=directory, buffering=0))
        except OSError as error:
            file = error
        yield _Copy(members, file)


@contextmanager
def _claimed(location: str) -> Iterator[bool]:
    """Locks a file that is waiting; gives false if another process has delivered it meanwhile."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(location, "rb"))
        except FileNotFoundError:
            yield False
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Path(location).exists()


def with_spool(store: Store, spool: str | None, on_error: str | None) -> Store:
    """Returns the store with a spool in that folder, or as it is if there is none."""
    return SpoolStore(store, spool, go_on=on_error != "raise") if spool else store
