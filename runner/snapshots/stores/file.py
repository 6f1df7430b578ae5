"""Snapshots as files of one folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import SnapshotDamagedError, SnapshotMismatchError, SnapshotNotFoundError, StoreError
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.header import Header
from runner.snapshots.reader import read_header
from runner.snapshots.store import Entry

BLOCK = 1 << 20
PROTOCOL_MARK = ".5"  # the pickle protocol is part of the name, as in VELES


class FileStore:
    """Keeps snapshots as `<prefix>_<suffix>.5.pickle[.codec]`, and a link `<prefix>_current...` to the newest.

    At a crash, a snapshot is there whole or not at all: it is written under a temporary name in the same folder, synced,
    and then given its name, which is synced too before `put` returns. With two writers, each name is given once; a name
    that is taken gets a number. The link belongs to whoever wrote last.

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
        with _translated("write to", self.directory):
            _make_durable_directory(self.directory)
            temporary = self.directory / f".{header.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
            try:
                _write_synced(temporary, members)
                path = self._name(temporary, header.name, PROTOCOL_MARK + codec.extension)
            finally:
                temporary.unlink(missing_ok=True)
            self._point_current(header.prefix, path, PROTOCOL_MARK + codec.extension)
            _sync_directory(self.directory)
        return str(path)

    def open(self, location: str) -> Iterator[bytes]:
        with _translated("read", Path(location)), open(location, "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def list(self) -> Iterator[Entry]:
        found = []
        for path in self.directory.glob("*.pickle*"):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            with suppress(SnapshotDamagedError, SnapshotMismatchError, StoreError):
                found.append(Entry(str(path), read_header(self.open(str(path)))))
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
        temporary = self.directory / f".{link.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        try:
            os.symlink(path.name, temporary)
        except (NotImplementedError, PermissionError):
            return  # a file system without links does without it
        os.replace(temporary, link)
        for codec in CODECS.values():
            other = self.directory / f"{prefix}_current{PROTOCOL_MARK}{codec.extension}"
            if other != link and other.is_symlink():
                other.unlink()


def _write_synced(path: Path, members: Iterable[Buffer]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb", buffering=0) as file:
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
    except FileNotFoundError as error:
        raise SnapshotNotFoundError(f"there is no snapshot {str(path)!r}") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot {action} {str(path)!r}: {error.strerror or error}") from error
