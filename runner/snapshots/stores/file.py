"""Snapshots as files in a folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

from runner.errors import SnapshotError, SnapshotNotFoundError, StoreSyncError
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import verify
from runner.snapshots.stores.file_errors import WRITE, translated
from runner.snapshots.stores.file_reading import blocks, nanoseconds, newest_files
from runner.snapshots.stores.file_system import Files, missing, mode_like, version
from runner.snapshots.stores.free_names import first_free
from runner.snapshots.stores.lock import locked
from runner.snapshots.stores.marks import LIMIT, Mark
from runner.snapshots.stores.snapshot_names import CURRENT, PROTOCOL_MARK, may_be_snapshot, stem_of
from runner.snapshots.stores.store import CODE_LIMIT, Entry, Store, Unreadable, code_name, ignore, selected

log = logging.getLogger(__name__)

MARK = ".mark"
"""The end of the name of what is written on a snapshot: `.<name of the file>.mark`, in the same folder."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(tmp|link)")
_ROOM = 40
"""Bytes of a file name for what follows its stem: `_current` or a number, the protocol and the codec."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""The errors of file systems without hard or symbolic links."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""The errors of file systems that cannot sync a folder."""


def is_mark(name: str) -> bool:
    """Whether a file of this name may be what is written on a snapshot."""
    return name.startswith(".") and name.endswith(MARK)


def mark_of(path: Path) -> Path:
    """Returns the file with what is written on a snapshot."""
    return path.with_name(f".{path.name}{MARK}")


def _read(path: Path, limit: int) -> bytes | None:
    """Returns the content of a small file beside snapshots; None if it is not there, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None


class FileStore(Store):
    """Keeps snapshots as `<prefix>_<suffix>.5.pickle[.codec]`, and a link `<prefix>_current...` to the newest.

    After a crash, a snapshot is there completely or not at all. It is written under a temporary name in the same folder, synced
    and closed; then it gets its name, and the folder is synced. From then on the snapshot counts, and the link is moved to it.
    The next `put` removes what a crash has left. Two writers never get the same name: a number is added to
    one that another snapshot has. The link points to the snapshot that was written last.

    Args:
        directory: the folder; it is created when the first snapshot is written.
        mode: permissions of the files; folders that are created get `of_folder(mode)`. Default: the umask's.
    """

    files: ClassVar[Files] = Files()

    def __init__(self, directory: str | Path, mode: int | None = None) -> None:
        self._directory = str(directory)
        self.mode = mode

    @classmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        return cls(_path(place), mode)

    @classmethod
    def of(cls, location: str) -> Self:
        return cls(Path(_path(location)).parent)

    @property
    def directory(self) -> Path:
        """The folder."""
        return Path(self._directory)

    def __str__(self) -> str:
        return self._directory

    @property
    def place(self) -> str:
        return self._directory

    def prepare(self) -> None:
        # A path that is too long, or leads through a file, stays so.
        with translated(WRITE, self.directory):
            try:
                (self.directory / ("x" * self._longest_name())).lstat()
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR):
                    raise
        # A folder that is not writable now may be by the time of the first snapshot.
        if not os.access(self._existing, os.W_OK | os.X_OK):
            log.warning("Nothing can be written to %r now: the first snapshot will fail if that stays so", str(self._existing))

    def _longest_name(self) -> int:
        """Returns how many bytes the file system allows in a file name."""
        return os.pathconf(self._existing, "PC_NAME_MAX")

    @property
    def _existing(self) -> Path:
        """The folder, or the first one above it that exists."""
        return next(path for path in (self.directory, *self.directory.parents) if path.exists())

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        extension = PROTOCOL_MARK + codec.extension
        with translated(WRITE, self.directory):
            self._make_directory()
            self._remove_leftovers()
            with self._temporary() as (file, temporary):
                self._write(file, members, header)
                path = self._name(temporary, header, extension)
                self._make_certain(path)
                self._point_current(temporary.with_suffix(".link"), self._stem(header.prefix), path, extension)
        return str(path)

    def open(self, location: str) -> Iterator[bytes]:
        return blocks(location)

    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        entries = newest_files(self._paths(), unreadable)
        return (entry for entry in entries if selected(entry.header, runs, workflow, apart_from))

    def find(self, location: str) -> str:
        return _path(location)

    def delete(self, *locations: str) -> None:
        # The callbacks run in reverse order: each deletion is tried even if another fails, and the folder is synced last.
        with ExitStack() as stack:
            stack.enter_context(translated("delete", self.directory))
            stack.callback(self._sync, self.directory)
            for location in locations:
                stack.callback(self._unlink, Path(location))

    def keep_code(self, digest: str, data: bytes) -> None:
        path = self._code(digest)
        with translated(WRITE, self.directory):
            if path.exists():
                return
            self._make_directory()
            self._replace(path, data)

    def kept_code(self, digest: str) -> bytes | None:
        return _read(self._code(digest), CODE_LIMIT)

    def _code(self, digest: str) -> Path:
        return self.directory / f".{code_name(digest)}.code"

    def marks(self) -> Mapping[str, Mark]:
        texts = (_read(path, LIMIT) for path in self._marks())
        found = (None if text is None else Mark.read(text) for text in texts)
        return {mark.uuid: mark for mark in found if mark is not None}

    def mark(self, location: str, mark: Mark) -> None:
        path = mark_of(Path(location))
        with translated(WRITE, path.parent):
            if not mark:
                with suppress(FileNotFoundError):
                    self.files.unlink(path)
                self._sync(path.parent)
            else:
                mode = mode_like(location) if self.mode is None else self.mode
                FileStore(path.parent, mode)._replace(path, mark.written())

    def _replace(self, path: Path, data: bytes) -> None:
        """Writes a small file in this folder, over the one that was there: after a crash, one of the two is there."""
        with self._temporary() as (descriptor, temporary):
            view = memoryview(data)
            while view:
                view = view[self.files.write(descriptor, view) :]
            self.files.sync(descriptor)
            self.files.replace(temporary, path)
        self._sync(self.directory)

    def _marks(self) -> Iterator[Path]:
        """Yields the files with what is written on snapshots."""
        with suppress(OSError):
            yield from (self.directory / name for name in self.files.names(self.directory) if is_mark(name))

    @contextmanager
    def claimed(self, run: str) -> Iterator[None]:
        with suppress(OSError):  # the first snapshot will say what is wrong with the folder
            for folder in missing(self.directory):
                self.files.mkdir(folder, self.mode)
        with locked(self.directory / f".{run}.lock", str(self), self.mode):
            yield

    def _unlink(self, path: Path) -> None:
        with translated("delete", path):
            if path.is_symlink():  # not a snapshot: somebody has replaced it by a link
                raise FileNotFoundError
            self.files.unlink(path)
        if os.path.lexists(mark := mark_of(path)):
            with translated("delete", mark):
                self.files.unlink(mark)

    def _paths(self) -> Iterator[Path]:
        """Yields the files that may be snapshots, by their names."""
        try:
            with translated("list", self.directory):
                names = self.files.names(self.directory)
        except SnapshotNotFoundError:
            return
        yield from (self.directory / name for name in names if may_be_snapshot(name))

    def _make_directory(self) -> None:
        """Creates the folder and its parents, and syncs the parents, so that all their names are durable.

        Folders that exist are synced too: another process may just have created them without a sync. A parent that has not
        changed since its last sync is skipped.
        """
        for folder in missing(self.directory):
            with suppress(FileExistsError):  # another process was quicker
                self.files.mkdir(folder, self.mode)
        for folder in self.directory.parents:
            if (now := version(folder)) is None or self.files.synced.get(folder) != now:
                with suppress(PermissionError):  # this user may only pass through it; so it is older than the run
                    self._sync(folder)
                self.files.synced[folder] = now

    def _remove_leftovers(self) -> None:
        """Removes temporary files of dead writers: nobody holds their locks."""
        with suppress(OSError):
            for name in self.files.names(self.directory):
                if _TEMPORARY.fullmatch(name):
                    with suppress(OSError):
                        self._remove_leftover(self.directory / name)

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
    def _temporary(self) -> Iterator[tuple[int, Path]]:
        """Creates a temporary file, locked for the block and removed after it. An unlocked one was left by a crash."""
        while True:
            path = self.directory / f".{secrets.token_hex(8)}.tmp"
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

    def _write(self, file: int, members: Iterable[Buffer], header: Header) -> None:
        """Writes the members, syncs them, and closes a descriptor, since a file server may report an error only then.

        A failed sync is not retried: the system may have dropped the data that it could not write. The file's modification time
        is set to the time in the header, so that the newest snapshot can be found without reading all headers.
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
                self.files.set_time(descriptor, nanoseconds(header))
            self.files.sync(descriptor)
        except BaseException:
            with suppress(OSError):
                self.files.close(descriptor)
            raise
        self.files.close(descriptor)

    def _stem(self, name: str) -> str:
        return stem_of(name, self._longest_name() - _ROOM)

    def _name(self, temporary: Path, header: Header, extension: str) -> Path:
        """Gives the file its name. If another snapshot has the name, a number is added; if this very one has it, that is kept.

        Two commands may copy the same snapshot at once.
        """
        stem = self._stem(header.name)

        def path(number: int) -> Path:
            return self.directory / (f"{stem}{extension}" if number == 1 else f"{stem}_{number}{extension}")

        number = 2 if stem.endswith(CURRENT) else 1  # the name without a number is that of the link
        while True:
            try:
                self._give(temporary, path(number))
                return path(number)
            except FileExistsError:
                free = first_free(lambda one: os.path.lexists(path(one)), number + 1)
                for taken in {number, free - 1}:
                    if _has(path(taken), header.uuid):
                        return path(taken)
                number = free

    def _give(self, temporary: Path, path: Path) -> None:
        try:
            self.files.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links, reserve the name with an empty file first: only one writer can create it.
            self.files.close(self.files.create(path, self.mode))
            try:
                self.files.replace(temporary, path)
            except BaseException:
                self.files.unlink(path)
                raise

    def _make_certain(self, path: Path) -> None:
        try:
            self._sync(self.directory)
        except OSError as error:
            raise StoreSyncError(
                f"snapshot {str(path)!r} is complete, but may not survive a power failure: {str(self.directory)!r} cannot be"
                f" synced: {error.strerror or error}"
            ) from error

    def _point_current(self, temporary: Path, prefix: str, path: Path, extension: str) -> None:
        """Atomically points the `_current` link to the newest snapshot.

        The snapshot is durable by now, so a link that cannot be moved is only logged.
        """
        link = self.directory / f"{prefix}{CURRENT}{extension}"
        try:
            if link.is_file() and not link.is_symlink():
                raise FileExistsError(errno.EEXIST, "a file has its name")
            self.files.symlink(path.name, temporary)
            self.files.replace(temporary, link)
            for codec in CODECS.values():
                other = self.directory / f"{prefix}{CURRENT}{PROTOCOL_MARK}{codec.extension}"
                if other != link and other.is_symlink():
                    self.files.unlink(other)
            self._sync(self.directory)
        except OSError as error:
            with suppress(OSError):
                self.files.unlink(temporary)
            if error.errno not in _NO_LINKS:
                log.warning("Link %s not moved to the newest snapshot: %s", link, error.strerror)

    def _sync(self, directory: Path) -> None:
        descriptor = self.files.open(directory, os.O_DIRECTORY)
        try:
            self.files.sync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            with suppress(OSError):
                self.files.close(descriptor)


def _has(path: Path, uuid: str) -> bool:
    """Whether a file has a snapshot, undamaged."""
    with suppress(SnapshotError):
        if any(entry.header.uuid == uuid for entry in newest_files([path])):
            verify(blocks(str(path)))
            return True
    return False


def _path(place: str) -> str:
    """Returns the path that is meant by a path or a `file://` URL, which is the path behind it as it is."""
    return place.removeprefix("file://")
