"""The calls by which a file store changes the file system."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from runner.snapshots.codecs import Buffer

CLOCK_STEP = 2_000_000_000
"""Nanoseconds in which a folder may change twice without another time of change: the longest of any file system (FAT)."""

Version = tuple[int, int, int]
"""A state of a folder: device, inode, and time of the last change of a name."""


def version(folder: Path) -> Version | None:
    """Returns what changes with the names in a folder; None if it is too young to tell."""
    status = folder.stat()
    settled = time.time_ns() - status.st_mtime_ns > CLOCK_STEP
    return (status.st_dev, status.st_ino, status.st_mtime_ns) if settled else None


class Files:
    """The file system itself. A test puts one in its place that fails, crashes, or keeps a record.

    Attributes:
        synced: the states in which folders were synced.
    """

    def __init__(self) -> None:
        self.synced: dict[Path, Version | None] = {}

    def create(self, path: Path) -> int:
        """Makes a file and opens it for writing; one that is there already is an error."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def open(self, path: Path, flags: int = 0) -> int:
        """Opens a file or a folder."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)

    def duplicate(self, descriptor: int) -> int:
        """Returns another descriptor of the same open file, which has the same lock."""
        return os.dup(descriptor)

    def lock(self, descriptor: int, flags: int = 0) -> None:
        """Locks a file for this process alone, until its last descriptor is closed."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)

    def write(self, descriptor: int, data: Buffer) -> int:
        """Writes at most all of the data; returns how many bytes."""
        return os.write(descriptor, data)

    def flush(self, descriptor: int, begin: int, size: int) -> None:
        """Lets the system begin to put what was written on the disk, so that `sync` has less to wait for."""
        if hasattr(os, "posix_fadvise"):
            # Linux drops what is on the disk already, which is nothing of it, and begins to write the rest.
            os.posix_fadvise(descriptor, begin, size, os.POSIX_FADV_DONTNEED)

    def sync(self, descriptor: int) -> None:
        """Returns when the content of a file, or the names in a folder, are on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes a descriptor, which it is afterwards even if this fails."""
        os.close(descriptor)

    def link(self, path: Path, name: Path) -> None:
        """Gives a file a second name, which must be free."""
        os.link(path, name)

    def replace(self, path: Path, name: Path) -> None:
        """Gives a file another name, whoever has it."""
        os.replace(path, name)

    def symlink(self, target: str, path: Path) -> None:
        """Makes a symbolic link."""
        os.symlink(target, path)

    def unlink(self, path: Path) -> None:
        """Takes a name away."""
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        """Makes a folder."""
        os.mkdir(path)

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order."""
        return os.listdir(folder)
