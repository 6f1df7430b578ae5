"""Snapshots as files in a folder."""

from __future__ import annotations

import errno
import logging
import os
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
from runner.snapshots.stores.file_system import Files, missing, mode_like
from runner.snapshots.stores.folder import NO_LINKS, Folder, read_small
from runner.snapshots.stores.free_names import first_free
from runner.snapshots.stores.lock import locked
from runner.snapshots.stores.marks import LIMIT, Mark
from runner.snapshots.stores.snapshot_names import CURRENT, PROTOCOL_MARK, may_be_snapshot, stem_of
from runner.snapshots.stores.store import CODE_LIMIT, Entry, Store, Unreadable, code_name, ignore, selected

log = logging.getLogger(__name__)

MARK = ".mark"
"""The end of the name of what is written on a snapshot: `.<name of the file>.mark`, in the same folder."""

_ROOM = 40
"""Bytes of a file name for what follows its stem: `_current` or a number, the protocol and the codec."""


def is_mark(name: str) -> bool:
    """Whether a file of this name may be what is written on a snapshot."""
    return name.startswith(".") and name.endswith(MARK)


def mark_of(path: Path) -> Path:
    """Returns the file with what is written on a snapshot."""
    return path.with_name(f".{path.name}{MARK}")


def _read(paths: Iterable[Path]) -> dict[str, Mark]:
    """Returns what is written in files on snapshots, by their UUIDs."""
    texts = (read_small(path, LIMIT) for path in paths)
    found = (None if text is None else Mark.read(text) for text in texts)
    return {mark.uuid: mark for mark in found if mark is not None}


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

    @property
    def _folder(self) -> Folder:
        return Folder(self.directory, self.mode, self.files)

    def __str__(self) -> str:
        return self._directory

    @property
    def place(self) -> str:
        return self._directory

    def prepare(self) -> None:
        # A path that is too long, or leads through a file, stays so.
        with translated(WRITE, self.directory):
            try:
                (self.directory / ("x" * self._folder.longest_name())).lstat()
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR):
                    raise
        # A folder that is not writable now may be by the time of the first snapshot.
        if not os.access(existing := self._folder.existing, os.W_OK | os.X_OK):
            log.warning("Nothing can be written to %r now: the first snapshot will fail if that stays so", str(existing))

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        extension, folder = PROTOCOL_MARK + codec.extension, self._folder
        with translated(WRITE, self.directory):
            folder.make()
            folder.remove_leftovers()
            with folder.temporary() as (file, temporary):
                # With the time in the header, the newest snapshot is found without reading all of them.
                folder.fill(file, members, nanoseconds(header))
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
            stack.callback(self._folder.sync)
            for location in locations:
                stack.callback(self._unlink, Path(location))

    def keep_code(self, digest: str, data: bytes) -> None:
        path = self._code(digest)
        with translated(WRITE, self.directory):
            if path.exists():
                return
            self._folder.make()
            self._folder.replace(path, data)

    def kept_code(self, digest: str) -> bytes | None:
        return read_small(self._code(digest), CODE_LIMIT)

    def _code(self, digest: str) -> Path:
        return self.directory / f".{code_name(digest)}.code"

    def marks(self) -> Mapping[str, Mark]:
        return _read(self._marks())

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        return [location for location, uuid in uuids.items() if _read([mark_of(Path(location))]).get(uuid)]

    def mark(self, location: str, mark: Mark) -> None:
        path = mark_of(Path(location))
        with translated(WRITE, path.parent):
            if not mark:
                with suppress(FileNotFoundError):
                    self.files.unlink(path)
                self._folder.sync(path.parent)
            else:
                mode = mode_like(location) if self.mode is None else self.mode
                Folder(path.parent, mode, self.files).replace(path, mark.written())

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

    def _paths(self) -> Iterator[str]:
        """Yields the paths of files that may be snapshots, by their names."""
        try:
            with translated("list", self.directory):
                names = self.files.names(self.directory)
        except SnapshotNotFoundError:
            return
        yield from (str(self.directory / name) for name in names if may_be_snapshot(name))

    def _stem(self, name: str) -> str:
        return stem_of(name, self._folder.longest_name() - _ROOM)

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
                self._folder.give(temporary, path(number))
                return path(number)
            except FileExistsError:
                free = first_free(lambda one: os.path.lexists(path(one)), number + 1)
                for taken in {number, free - 1}:
                    if _has(path(taken), header.uuid):
                        return path(taken)
                number = free

    def point_to_newest(self) -> None:
        """Points `_current` links to the newest snapshots: copies come in any order, and the newest one may go."""
        newest: dict[str, Path] = {}
        for entry in self.list():
            newest.setdefault(self._stem(entry.header.prefix), Path(entry.location))
        for prefix, path in newest.items():
            extension = path.name[path.name.rindex(PROTOCOL_MARK) :]
            link = self.directory / f"{prefix}{CURRENT}{extension}"
            if not link.is_symlink() or os.readlink(link) != path.name:
                with translated(WRITE, self.directory), self._folder.temporary() as (_, temporary):
                    self._point_current(temporary.with_suffix(".link"), prefix, path, extension)

    def _make_certain(self, path: Path) -> None:
        try:
            self._folder.sync()
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
            self._folder.sync()
        except OSError as error:
            with suppress(OSError):
                self.files.unlink(temporary)
            if error.errno not in NO_LINKS:
                log.warning("Link %s not moved to the newest snapshot: %s", link, error.strerror)


def _has(path: Path, uuid: str) -> bool:
    """Whether a file has a snapshot, undamaged."""
    with suppress(SnapshotError):
        if any(entry.header.uuid == uuid for entry in newest_files([str(path)])):
            verify(blocks(str(path)))
            return True
    return False


def _path(place: str) -> str:
    """Returns the path that is meant by a path or a `file://` URL, which is the path behind it as it is."""
    return place.removeprefix("file://")
