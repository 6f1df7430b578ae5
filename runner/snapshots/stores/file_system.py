"""The calls by which a file store changes the file system."""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path

from runner.errors import ConfigError
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


def missing(folder: Path) -> list[Path]:
    """Returns those of a folder and its parents that are not there, in the order in which they are to be made."""
    return [path for path in (*reversed(folder.parents), folder) if not path.exists()]


def of_folder(mode: int) -> int:
    """Returns the permissions of a folder for files of this mode: who may read may look into it."""
    return mode | (mode & 0o444) >> 2


def no_wider(mode: int | None) -> int | None:
    """Returns a mode without what the umask takes away: it lets nobody in whom a new file would keep out."""
    if mode is None:
        return None
    os.umask(umask := os.umask(0o077))  # it cannot be read otherwise
    return read_mode(mode & 0o777 & ~umask | 0o600)


def read_mode(mode: str | int | None) -> int | None:
    """Returns the permissions of files that a mode means.

    People write them in octal, as text or as a number, and YAML turns `0600` into the number 384. No mode can be mistaken for
    another one, since the owner must be able to read and write: as octal, 384 to 511 do not let him, and from 600 on decimal
    numbers are too large.

    Raises:
        ConfigError: it is no mode, or one that keeps the owner out.
    """
    if mode is None:
        return None
    text = str(mode).strip()
    octal = int(found[1], 8) if (found := re.fullmatch(r"(?:0o?)?([0-7]{3})", text)) else 0
    decimal = int(text) if re.fullmatch(r"[0-9]{3}", text) else 0
    for value in (octal, decimal):
        if 0o600 <= value <= 0o777:
            return value
    raise ConfigError(
        f"snapshotter.mode={mode!r} is no mode of files: three octal digits of which the first is 6 or 7, such as 0600 or 0640"
    )


class Files:
    """The file system itself. A test puts one in its place that fails, crashes, or keeps a record.

    Attributes:
        synced: the states in which folders were synced.
    """

    def __init__(self) -> None:
        self.synced: dict[Path, Version | None] = {}

    def create(self, path: Path, mode: int | None = None) -> int:
        """Makes a file and opens it for writing; one that is there already is an error.

        Args:
            path: the file.
            mode: what `permit` will be called with, if it will be: nobody else can open the file before.
        """
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)

    def permit(self, descriptor: int, mode: int) -> None:
        """Sets the permissions of a file, whatever the umask."""
        os.fchmod(descriptor, mode & 0o666)

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

    def set_time(self, descriptor: int, nanoseconds: int) -> None:
        """Sets when a file was changed, since 1970."""
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))

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

    def mkdir(self, path: Path, mode: int | None = None) -> None:
        """Makes a folder, with the permissions of the umask or with those for files of this mode."""
        os.mkdir(path, 0o777 if mode is None else 0o700)
        if mode is not None:
            os.chmod(path, of_folder(mode))

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no order."""
        return os.listdir(folder)
