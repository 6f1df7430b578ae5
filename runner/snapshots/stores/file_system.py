"""The file system calls that a file store makes."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from runner.errors import ConfigError
from runner.snapshots.codecs import Buffer

CLOCK_STEP = 2_000_000_000
"""Nanoseconds within which two changes may have the same modification time: the coarsest of any file system (FAT)."""

Version = tuple[int, int, int]
"""The state of a folder: device, inode and modification time."""


def version(folder: Path) -> Version | None:
    """Returns a value that changes with the names in a folder; None if the last change is too recent to tell."""
    status = folder.stat()
    settled = time.time_ns() - status.st_mtime_ns > CLOCK_STEP
    return (status.st_dev, status.st_ino, status.st_mtime_ns) if settled else None


def missing(folder: Path) -> list[Path]:
    """Returns a folder and its parents, as far as they do not exist, in the order in which to create them."""
    return [path for path in (*reversed(folder.parents), folder) if not path.exists()]


def of_folder(mode: int) -> int:
    """Returns the permissions of a folder for files of this mode: whoever may read the files may enter the folder."""
    return mode | (mode & 0o444) >> 2


def no_wider(mode: int | None) -> int | None:
    """Returns a mode without the permissions that the umask removes, so that it is no wider than that of a new file."""
    if mode is None:
        return None
    os.umask(umask := os.umask(0o077))  # it can only be read by setting it
    return read_mode(mode & 0o777 & ~umask | 0o600)


def mode_like(path: str | Path) -> int | None:
    """Returns the permissions of a file, as far as the umask allows them; None, for the umask's, if it is not there."""
    with suppress(OSError):
        return no_wider(stat.S_IMODE(os.stat(path).st_mode))
    return None


def read_mode(mode: str | int | None, key: str = "snapshotter.mode") -> int | None:
    """Returns the file permissions that a mode means.

    People write modes in octal, as text or as a number, and YAML turns `0600` into the number 384. There is no ambiguity, since
    the owner must be able to read and write: read as octal, 384 to 511 would not allow that, and decimal numbers from 600 on
    are too large.

    Args:
        mode: as it was typed.
        key: what it was typed for, for the message.

    Raises:
        ConfigError: it is not a mode, or one that locks the owner out.
    """
    if mode is None:
        return None
    text = str(mode).strip()
    octal = int(found[1], 8) if (found := re.fullmatch(r"(?:0o?)?([0-7]{3})", text)) else 0
    decimal = int(text) if re.fullmatch(r"[0-9]{3}", text) else 0
    for value in (octal, decimal):
        if 0o600 <= value <= 0o777:
            return value
    raise ConfigError(f"{key}={mode!r} is not a file mode: give three octal digits, the first 6 or 7, such as 0600 or 0640")


class Files:
    """The file system itself. Tests replace it by one that fails, crashes, or records calls.

    Attributes:
        synced: the state that each folder had when it was last synced.
    """

    def __init__(self) -> None:
        self.synced: dict[Path, Version | None] = {}

    def create(self, path: Path, mode: int | None = None) -> int:
        """Creates a file and opens it for writing. It is an error if the file exists.

        Args:
            path: the file.
            mode: the mode that `permit` will set, if any. Until then, nobody else can open the file.
        """
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)

    def permit(self, descriptor: int, mode: int) -> None:
        """Sets the permissions of a file, whatever the umask."""
        os.fchmod(descriptor, mode & 0o666)

    def open(self, path: Path, flags: int = 0) -> int:
        """Opens a file or a folder."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)

    def duplicate(self, descriptor: int) -> int:
        """Returns another descriptor of the same open file; both share its lock."""
        return os.dup(descriptor)

    def lock(self, descriptor: int, flags: int = 0) -> None:
        """Locks a file exclusively until its last descriptor is closed."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)

    def write(self, descriptor: int, data: Buffer) -> int:
        """Writes data, or only the first part of it; returns the number of bytes written."""
        return os.write(descriptor, data)

    def flush(self, descriptor: int, begin: int, size: int) -> None:
        """Makes the system start writing data to disk, so that `sync` has less to wait for."""
        if hasattr(os, "posix_fadvise"):
            # This advice drops pages that are on disk already, of which there are none, and starts writing the others.
            os.posix_fadvise(descriptor, begin, size, os.POSIX_FADV_DONTNEED)

    def set_time(self, descriptor: int, nanoseconds: int) -> None:
        """Sets the modification time of a file, in nanoseconds since 1970."""
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))

    def sync(self, descriptor: int) -> None:
        """Waits until the content of a file, or the names in a folder, are on disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes a descriptor. It is closed even if this raises an error."""
        os.close(descriptor)

    def link(self, path: Path, name: Path) -> None:
        """Gives a file a second name, which must not be taken."""
        os.link(path, name)

    def replace(self, path: Path, name: Path) -> None:
        """Renames a file, replacing any file of that name."""
        os.replace(path, name)

    def symlink(self, target: str, path: Path) -> None:
        """Creates a symbolic link."""
        os.symlink(target, path)

    def unlink(self, path: Path) -> None:
        """Removes a file, or one of its names."""
        os.unlink(path)

    def mkdir(self, path: Path, mode: int | None = None) -> None:
        """Creates a folder with the permissions of the umask, or with those that suit files of this mode."""
        os.mkdir(path, 0o777 if mode is None else 0o700)
        if mode is not None:
            os.chmod(path, of_folder(mode))

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, in no particular order."""
        return os.listdir(folder)
