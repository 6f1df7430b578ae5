"""Snapshots as objects of a service that fsspec knows."""

from __future__ import annotations

import heapq
import logging
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice
from typing import Self

from runner.errors import ConfigError, SnapshotDamagedError, SnapshotError, SnapshotNotFoundError, StoreError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import read_start, verify
from runner.snapshots.remote.object_names import Stamp, mark, marks, object_name
from runner.snapshots.remote.renewed_claim import RenewedClaim
from runner.snapshots.remote.services import SERVICES, Files
from runner.snapshots.stores.marks import LIMIT, Mark
from runner.snapshots.stores.patience import IMPATIENCE, PATIENCE, tries
from runner.snapshots.stores.snapshot_names import CURRENT, may_be_snapshot, stem_of
from runner.snapshots.stores.store import CODE_LIMIT, Entry, Store, Unreadable, code_name, ignore, selected

log = logging.getLogger(__name__)

BLOCK = 8 << 20
"""Bytes that are read at a time."""
HEADER_BLOCK = 1 << 16
"""Bytes in which a header is looked for first."""
AT_ONCE = 64
"""Headers that are read at the same time, after the first few."""

MARKS = ".marks"
"""The folder, in that of the snapshots, of objects with what is written on them."""

_PLACE = re.compile(r"(?s)[a-z0-9]+://[^/]+(/.*)?")
_WITH_PASSWORD = re.compile(r"://[^/]*:[^/]*@")
_CURRENT = re.compile(rf"(?s)(.+){CURRENT}(\.5\.pickle.*)?")


class RemoteStore(Store):
    """Keeps each snapshot as an object, `<folder>/<name>_<time>_<run>_<snapshot>.5.pickle[.codec]`.

    An object appears when all of it has arrived, or never: a large one is uploaded in parts, which are put together in the last
    step. It counts once the service has confirmed its size after that. No two snapshots have the same name, and a name that is
    taken is not written to. So a put with an unknown outcome may be repeated, also by several processes at once, and the
    newest snapshot is known from the list of names. `<folder>/<prefix>_current` is no object: it is whichever is the newest
    when it is asked for. A store is plain data without a connection.

    Args:
        place: the URL of the folder, such as `s3://bucket/folder`. The account is found as the service's own tools find it.

    Raises:
        ConfigError: the URL names no bucket, or holds a password.
    """

    def __init__(self, place: str) -> None:
        if _WITH_PASSWORD.search(place):
            scheme = place.partition(":")[0]
            raise ConfigError(
                f"a URL of snapshots may not hold a password: leave it out of {scheme}://, and give the account by"
                f" {SERVICES[scheme].account}"
            )
        if not _PLACE.fullmatch(place):
            raise ConfigError(f"{place!r} names no folder for snapshots: {place.partition(':')[0]}://BUCKET/FOLDER")
        self._place = place.rstrip("/")
        self.can_be_away = SERVICES[place.partition(":")[0]].away

    @classmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        return cls(place)

    @classmethod
    def of(cls, location: str) -> Self:
        return cls(location.rpartition("/")[0])

    def __str__(self) -> str:
        return self._place

    @property
    def place(self) -> str:
        return self._place

    def prepare(self) -> None:
        """Writes a small object, and deletes it.

        Raises:
            ConfigError: there is no such bucket, or the package for the service is missing.
            StoreAccessError: the account is missing, or its rights.
            StoreError: what was written does not come back.
        """
        files = Files(self.place)
        tries(IMPATIENCE)(files.check_root)
        if not files.service.away:
            return
        self._prove(files)
        with suppress(StoreError):  # not everybody may list them
            if count := files.remove_stale():
                log.info("Unfinished uploads of the last day in %s: %d, of jobs that run or were killed", self, count)

    def _prove(self, files: Files) -> None:
        url, data = f"{self.place}/.{uuid.uuid4().hex}.test", bytes(range(256))
        with suppress(FileExistsError):  # the answer to the first attempt was lost
            tries(IMPATIENCE)(files.create, url, data)
        try:
            if files.read(url, 0, len(data)) != data:
                raise StoreError(f"{self} does not give back what was written")
            files.create(url, b"another")
        except FileExistsError:
            return
        finally:
            files.delete(url)
        log.warning("%s lets an object be overwritten: a second job that goes on with the same run would not be noticed", self)

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        files, location = Files(self.place), f"{self.place}/{object_name(header, codec, self.place)}"
        if tries(PATIENCE)(files.size, location) is not None:  # it also waits for a service that is away
            return self._known(location, header, None)
        try:
            size = files.upload(location, members)
        except (FileExistsError, StoreError) as error:  # the last answer may have been lost
            return self._known(location, header, error)
        self._check_written(files, location, size)
        return location

    def _known(self, location: str, header: Header, error: Exception | None) -> str:
        """Returns the location if this very snapshot is there, whole; else raises the error with which writing it has ended."""
        with suppress(SnapshotError):
            if verify(self.open(location)).uuid == header.uuid:
                return location
        if isinstance(error, StoreError):
            raise error
        raise StoreError(f"cannot write to {self.place!r}: {location!r} is there already, and another snapshot") from error

    def _check_written(self, files: Files, location: str, size: int) -> None:
        found = tries(PATIENCE)(files.size, location)
        if found == size:
            return
        if found is not None:
            with suppress(StoreError):  # it could be mistaken for a snapshot
                files.delete(location)
        raise StoreError(f"cannot write to {self.place!r}: {found or 0} of {size} bytes have arrived as {location!r}")

    def open(self, location: str) -> Iterator[bytes]:
        files = Files(self.place)
        size = tries(IMPATIENCE)(files.size, location)
        if size is None:
            raise SnapshotNotFoundError(
                f"there is no snapshot {location!r}; if it is a folder: snapshotter.directory={location} snapshot=latest"
            )
        begin, step = 0, HEADER_BLOCK
        while begin < size:
            end = min(begin + step, size)
            yield tries(IMPATIENCE)(files.read, location, begin, end)
            begin, step = end, BLOCK

    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        wanted, left_out = marks(runs), set[str]()

        def of_runs(stamp: Stamp) -> bool:
            if len(left_out) != len(apart_from):
                left_out.update(map(mark, apart_from))
            return (wanted is None or stamp.run in wanted) and stamp.run not in left_out

        for entry in self._entries(unreadable, of_runs):
            if selected(entry.header, runs, workflow, apart_from):
                yield entry

    def _entries(self, unreadable: Unreadable, of_runs: Callable[[Stamp], bool], begin: str = "") -> Iterator[Entry]:
        """Yields snapshots, newest first.

        Objects that were copied there have no stamp in their names, so all their headers are read first.

        Args:
            unreadable: as in `list`.
            of_runs: which stamps are wanted; it may change its mind meanwhile.
            begin: the beginning of their names.
        """
        files = Files(self.place)
        stamped: list[tuple[str, Stamp, str, int]] = []
        copied: list[tuple[str, int]] = []
        for name, size in tries(IMPATIENCE)(files.names):
            if not may_be_snapshot(name) or not name.startswith(begin):
                continue
            location = f"{self.place}/{name}"
            if (stamp := Stamp.of(name)) is None:
                copied.append((location, size))
            else:
                stamped.append((stamp.time, stamp, location, size))
        stamped.sort(key=lambda one: one[0], reverse=True)
        in_order = self._read(files, ((location, size) for _, stamp, location, size in stamped if of_runs(stamp)), unreadable)
        others = sorted(self._read(files, iter(copied), unreadable), key=lambda entry: entry.newest_last, reverse=True)
        yield from heapq.merge(in_order, others, key=lambda entry: entry.newest_last, reverse=True)

    def _read(self, files: Files, objects: Iterator[tuple[str, int]], unreadable: Unreadable) -> Iterator[Entry]:
        """Reads headers: few at first, in case that the first will do."""
        count = 1
        while batch := dict(islice(objects, count)):
            starts = {location: min(size, HEADER_BLOCK) for location, size in batch.items() if size}
            found = dict.fromkeys(batch.keys() - starts.keys(), b"") | tries(IMPATIENCE)(self._starts, files, starts)
            for location, size in batch.items():
                if location in found:
                    yield from self._entry(location, found[location], size, unreadable)
            count = min(4 * count, AT_ONCE)

    @staticmethod
    def _starts(files: Files, sizes: dict[str, int]) -> dict[str, bytes]:
        return dict(files.read_starts(sizes))

    def _entry(self, location: str, start: bytes, size: int, unreadable: Unreadable) -> Sequence[Entry]:
        try:
            try:
                return [_with_header(location, [start], size)]
            except SnapshotDamagedError:
                if len(start) == size:
                    raise
                return [_with_header(location, self.open(location), size)]  # a long one
        except SnapshotNotFoundError:
            return []  # another process has just deleted it
        except SnapshotError as error:
            unreadable(location, error)
            return []

    def find(self, location: str) -> str:
        """Returns the location; that of the newest snapshot with a prefix for `<prefix>_current`."""
        name = location.removeprefix(self.place)[1:]
        found = _CURRENT.fullmatch(name)
        if found is None or tries(IMPATIENCE)(Files(self.place).size, location) is not None:
            return location
        for entry in self._entries(ignore, lambda stamp: True, stem_of(found[1], len(name.encode()))):
            if entry.header.prefix == found[1]:
                return entry.location
        raise SnapshotNotFoundError(f"there is no snapshot {location!r}, and none with the prefix {found[1]!r} in {self}")

    def delete(self, *locations: str) -> None:
        files = Files(self.place)
        for location in locations:
            if tries(IMPATIENCE)(files.size, location) is None:
                raise SnapshotNotFoundError(f"there is no snapshot {location!r}")
        for location in locations:
            tries(IMPATIENCE)(files.delete, location)
            self._write_mark(files, location, b"")

    def marks(self) -> Mapping[str, Mark]:
        files = Files(f"{self.place}/{MARKS}")
        sizes = {f"{files.place}/{name}": min(size, LIMIT) for name, size in tries(IMPATIENCE)(files.names) if size}
        found = map(Mark.read, tries(IMPATIENCE)(self._starts, files, sizes).values())
        return {mark.uuid: mark for mark in found if mark is not None}

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        files = Files(self.place)
        written = [location for location in uuids if tries(IMPATIENCE)(files.size, self._mark(location)) is not None]
        return super().marked({location: uuids[location] for location in written})

    def mark(self, location: str, mark: Mark) -> None:
        self._write_mark(Files(self.place), location, mark.written() if mark else b"")

    def _mark(self, location: str) -> str:
        return f"{self.place}/{MARKS}/{location.removeprefix(self.place)[1:]}"

    def _write_mark(self, files: Files, location: str, data: bytes) -> None:
        url = self._mark(location)
        if data:
            tries(IMPATIENCE)(files.replace, url, data)
        elif tries(IMPATIENCE)(files.size, url) is not None:
            tries(IMPATIENCE)(files.delete, url)

    def keep_code(self, digest: str, data: bytes) -> None:
        with suppress(FileExistsError):
            tries(IMPATIENCE)(Files(self.place).create, self._code(digest), data)

    def kept_code(self, digest: str) -> bytes | None:
        files, url = Files(self.place), self._code(digest)
        size = tries(IMPATIENCE)(files.size, url)
        return None if size is None else tries(IMPATIENCE)(files.read, url, 0, min(size, CODE_LIMIT))

    def _code(self, digest: str) -> str:
        return f"{self.place}/.{code_name(digest)}.code"

    def claimed(self, run: str) -> AbstractContextManager[None]:
        # What is in this process's memory no other process can go on with.
        return RenewedClaim(self.place, run) if self.can_be_away else nullcontext()


def _with_header(location: str, blocks: Iterable[bytes], size: int) -> Entry:
    header, codec = read_start(blocks)
    return Entry(location, header, size, codec.name)
