"""Snapshots as files of one folder."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from runner.errors import SnapshotError, SnapshotNotFoundError, StoreError
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.header import Header
from runner.snapshots.reader import read_header
from runner.snapshots.store import Entry, Store, Unreadable, ignore

BLOCK = 1 << 20
WRITE = "write to"
PROTOCOL_MARK = ".5"  # the pickle protocol is part of the name, as in VELES


class FileStore(Store):
    """Keeps snapshots as `<prefix>_<suffix>.5.pickle[.codec]`, and a link `<prefix>_current...` to the newest.

    At a crash, a snapshot is there whole or not at all: it is written under a temporary name in the same folder, synced,
    and then given its name, which is synced too before `put` returns. The next `put` removes what a crash has left. With
    two writers, each name is given once; a name that is taken gets a number. The link belongs to whoever wrote last.

    Args:
        directory: the folder; it is made when the first snapshot is written.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = str(directory)

    @property
    def directory(self) -> Path:
        """The folder."""
        return Path(self._directory)

    def __str__(self) -> str:
        return self._directory

    def prepare(self) -> None:
        # A folder that cannot be written to today may be when the first snapshot is taken.
        return

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        with _translated(WRITE, self.directory):
            _make_durable_directory(self.directory)
            _remove_leftovers(self.directory)
            name, extension = _stem(header.name), PROTOCOL_MARK + codec.extension
            with _temporary(self.directory) as (file, temporary):
                _write_synced(file, members)
                path = self._name(temporary, name, extension)
            self._point_current(_stem(header.prefix), path, extension)
            _sync_directory(self.directory)
        return str(path)

    def open(self, location: str) -> Iterator[bytes]:
        with _translated("read", Path(location)), open(location, "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def list(self, unreadable: Unreadable = ignore) -> Iterator[Entry]:
        found = []
        for path in self.directory.glob("*.pickle*"):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            try:
                found.append(Entry(str(path), read_header(self.open(str(path)))))
            except SnapshotNotFoundError:
                continue  # another process has just deleted it
            except SnapshotError as error:
                unreadable(str(path), error)
        yield from sorted(found, key=lambda entry: entry.header.time, reverse=True)

    def delete(self, location: str) -> None:
        with _translated("delete", Path(location)):
            os.unlink(location)
            _sync_directory(self.directory)

    def _name(self, temporary: Path, stem: str, extension: str) -> Path:
        """Gives the file its name; one that is taken belongs to another state and is left alone."""
        number = 1
        while True:
            path = self.directory / (f"{stem}{extension}" if number == 1 else f"{stem}_{number}{extension}")
            try:
                os.link(temporary, path)
                return path
            except FileExistsError:
                number += 1
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or path.exists():
                    raise
                os.replace(temporary, path)  # a file system without hard links
                return path

    def _point_current(self, prefix: str, path: Path, extension: str) -> None:
        """Makes the `_current` link point to the newest snapshot; there is never a moment without it."""
        link = self.directory / f"{prefix}_current{extension}"
        temporary = self.directory / _temporary_name()
        try:
            os.symlink(path.name, temporary)
        except (NotImplementedError, PermissionError):
            return  # a file system without links does without it
        os.replace(temporary, link)
        for codec in CODECS.values():
            other = self.directory / f"{prefix}_current{PROTOCOL_MARK}{codec.extension}"
            if other != link and other.is_symlink():
                other.unlink()


def _stem(name: str) -> str:
    """Returns a name that a file can have: no other folder, and not hidden."""
    name = name.replace("/", "_").replace(os.sep, "_")
    return f"_{name[1:]}" if name.startswith(".") else name


def _temporary_name() -> str:
    return f".{secrets.token_hex(8)}.tmp"


@contextmanager
def _temporary(directory: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Makes a file that is gone afterwards, and locked until then: one that is not locked was left by a crash."""
    while True:
        path = directory / _temporary_name()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            try:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX)
                if not path.exists():
                    continue  # another process took it for a leftover before it was locked
                yield file, path
            finally:
                path.unlink(missing_ok=True)
        return


def _remove_leftovers(directory: Path) -> None:
    """Removes the temporary files of writers that are no more; nobody holds their locks."""
    for path in directory.glob(".????????????????.tmp"):
        with suppress(OSError):
            if path.is_symlink():
                continue  # the link of a writer that is about to move it
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _write_synced(file: BinaryIO, members: Iterable[Buffer]) -> None:
    for member in members:
        view = memoryview(member)
        while view:
            view = view[file.write(view) :]
    os.fsync(file.fileno())


def _make_durable_directory(directory: Path) -> None:
    """Makes the folder and its parents, and syncs the parent of each that it made."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_directory(folder.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _translated(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, SnapshotError):
            raise
        if isinstance(error, FileNotFoundError | NotADirectoryError) and action != WRITE:
            raise SnapshotNotFoundError(f"there is no snapshot {str(path)!r}") from error
        if isinstance(error, IsADirectoryError) and action != WRITE:
            raise SnapshotNotFoundError(f"{str(path)!r} is a folder, not a snapshot: name a file in it") from error
        raise StoreError(f"cannot {action} {str(path)!r}: {error.strerror or error}") from error
