"""A folder in which a file is there completely or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.snapshots.codecs import Buffer
from runner.snapshots.stores.file_system import Files, missing, version

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""The errors of file systems without hard or symbolic links."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""The errors of file systems that cannot sync a folder."""
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(tmp|link)")


class Folder:
    """Writes files under temporary names, and syncs them before they get their own.

    Args:
        path: the folder.
        mode: permissions of its files. Default: the umask's.
        files: the file system.
    """

    def __init__(self, path: Path, mode: int | None, files: Files) -> None:
        self.path = path
        self.mode = mode
        self.files = files

    def longest_name(self) -> int:
        """Returns how many bytes the file system allows in a file name."""
        return os.pathconf(self.existing, "PC_NAME_MAX")

    @property
    def existing(self) -> Path:
        """The folder, or the first one above it that exists."""
        return next(path for path in (self.path, *self.path.parents) if path.exists())

    def make(self) -> None:
        """Creates the folder and its parents, and syncs the parents, so that all their names are durable.

        Folders that exist are synced too: another process may just have created them without a sync. A parent that has not
        changed since its last sync is skipped.
        """
        for folder in missing(self.path):
            with suppress(FileExistsError):  # another process was quicker
                self.files.mkdir(folder, self.mode)
        for folder in self.path.parents:
            if (now := version(folder)) is None or self.files.synced.get(folder) != now:
                with suppress(PermissionError):  # this user may only pass through it; so it is older than the run
                    self.sync(folder)
                self.files.synced[folder] = now

    def remove_leftovers(self) -> None:
        """Removes temporary files of dead writers: nobody holds their locks."""
        with suppress(OSError):
            for name in self.files.names(self.path):
                if _TEMPORARY.fullmatch(name):
                    with suppress(OSError):
                        self._remove_leftover(self.path / name)

    def _remove_leftover(self, path: Path) -> None:
        if path.suffix == ".link":
            # A live writer still has its temporary file.
            if not path.with_suffix(".tmp").exists():
                self.files.unlink(path)
            return
        descriptor = self.files.open(path, os.O_NOFOLLOW | os.O_NONBLOCK)  # opening a pipe would wait for a writer
        try:
            self.files.lock(descriptor, fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                self.files.unlink(path.with_suffix(".link"))
            self.files.unlink(path)
        finally:
            self.files.close(descriptor)

    @contextmanager
    def temporary(self) -> Iterator[tuple[int, Path]]:
        """Creates a temporary file, locked for the block and removed after it. An unlocked one was left by a crash."""
        while True:
            path = self.path / f".{secrets.token_hex(8)}.tmp"
            descriptor = self.files.create(path, self.mode)
            try:
                if self.mode is not None:
                    self.files.permit(descriptor, self.mode)
                with suppress(OSError):  # a file system without locks
                    self.files.lock(descriptor)
                if not os.fstat(descriptor).st_nlink:
                    continue  # another process took it for a leftover before it was locked
                yield descriptor, path
            finally:
                with suppress(OSError):
                    self.files.unlink(path)
                with suppress(OSError):
                    self.files.close(descriptor)
            return

    def fill(self, file: int, members: Iterable[Buffer], nanoseconds: int) -> None:
        """Writes the members, syncs them, and closes a descriptor, since a file server may report an error only then.

        A failed sync is not retried: the system may have dropped the data that it could not write.

        Args:
            file: the temporary file, which stays open.
            members: what to write.
            nanoseconds: the modification time that the file gets, since 1970.
        """
        descriptor = self.files.duplicate(file)  # the original keeps the lock
        written = 0
        try:
            for member in members:
                view = memoryview(member)
                while view:
                    size = self.files.write(descriptor, view)
                    with suppress(OSError):  # a file system without support for hints
                        self.files.flush(descriptor, written, size)
                    view = view[size:]
                    written += size
            with suppress(OSError):  # a file system without times
                self.files.set_time(descriptor, nanoseconds)
            self.files.sync(descriptor)
        except BaseException:
            with suppress(OSError):
                self.files.close(descriptor)
            raise
        self.files.close(descriptor)

    def give(self, temporary: Path, path: Path) -> None:
        """Gives a temporary file its own name; a FileExistsError is raised if another file has it."""
        try:
            self.files.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # Without hard links, reserve the name with an empty file first: only one writer can create it.
            self.files.close(self.files.create(path, self.mode))
            try:
                self.files.replace(temporary, path)
            except BaseException:
                self.files.unlink(path)
                raise

    def replace(self, path: Path, data: bytes) -> None:
        """Writes a small file in this folder, over the one that was there: after a crash, one of the two is there."""
        with self.temporary() as (descriptor, temporary):
            view = memoryview(data)
            while view:
                view = view[self.files.write(descriptor, view) :]
            self.files.sync(descriptor)
            self.files.replace(temporary, path)
        self.sync()

    def sync(self, folder: Path | None = None) -> None:
        """Waits until the names in this folder, or in one above it, are durable."""
        descriptor = self.files.open(folder or self.path, os.O_DIRECTORY)
        try:
            self.files.sync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            with suppress(OSError):
                self.files.close(descriptor)


def read_small(path: Path, limit: int) -> bytes | None:
    """Returns the content of a small file beside snapshots; None if it is not there, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
