"""Locks in a folder, which the kernel takes away from a process that ends, however it ends."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import RunInUseError
from runner.snapshots.stores.holder import Holder, refuse

log = logging.getLogger(__name__)

_HOLDER = 4096
"""Bytes of a lock file that are read."""

_ours: set[int] = set()
"""The descriptors of locks that are held. A child process must not keep them when this one has ended."""


def _after_fork() -> None:
    for descriptor in _ours:
        os.close(descriptor)
    _ours.clear()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def locked(path: Path, place: str, mode: int | None = None) -> Iterator[None]:
    """Holds a lock for the block.

    The file is locked, not its existence: one that a killed process has left is taken over. On NFS, Linux passes the lock to
    the server, so that it holds between machines, unless the mount says `nolock` or `local_lock`.

    Args:
        path: the lock file.
        place: what is locked, for messages.
        mode: permissions of the file. Default: the umask's.

    Raises:
        RunInUseError: another process holds it.
    """
    try:
        descriptor = _taken(path, place, mode)
    except RunInUseError:
        raise
    except OSError as error:  # a folder that can only be read, a full disk, a file system without locks
        log.warning("%s cannot be locked (%s): a second job would not be noticed", place, error.strerror or error)
        yield
        return
    if descriptor is None:
        yield
        return
    _ours.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _ours:
            with suppress(OSError):
                path.unlink()
            _ours.discard(descriptor)
            os.close(descriptor)


def _taken(path: Path, place: str, mode: int | None) -> int | None:
    """Returns the descriptor of a file that is locked now; None if this process has locked it before."""
    while True:
        descriptor = _opened(path, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # else its holder has just removed it
                _sign(descriptor)
                return descriptor
        except BlockingIOError:
            try:
                refuse(Holder.read(os.pread(descriptor, _HOLDER, 0)), place)
            finally:
                os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path, mode: int | None) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a pipe would wait
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666 if mode is None else mode & 0o666)
    except PermissionError as error:  # that of another user
        try:
            return os.open(path, os.O_RDONLY | flags)
        except FileNotFoundError:
            raise error from None


def _sign(descriptor: int) -> None:
    """Writes who holds the lock, unless the file is somebody else's that was given this name."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, Holder.me().written(), 0)
