"""Snapshots in a folder and all folders below it: where the folders of runs are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from runner.errors import SnapshotNotFoundError
from runner.snapshots.stores.file import FileStore, is_mark, mark_of
from runner.snapshots.stores.snapshot_names import CURRENT, may_be_snapshot

log = logging.getLogger(__name__)


class FileTree(FileStore):
    """A folder with all that is below it, or a single file, whatever its name. Below it, hidden folders and links are left out.

    Raises:
        SnapshotNotFoundError: there is no such folder or file.
    """

    def __init__(self, directory: str | Path, mode: int | None = None) -> None:
        super().__init__(followed(Path(directory)), mode)
        if not self.directory.exists():
            raise SnapshotNotFoundError(f"there is no folder {str(directory)!r}")
        if not (self.directory.is_dir() or self.directory.is_file()):
            raise SnapshotNotFoundError(f"{str(directory)!r} is neither a folder nor a file")

    def _paths(self) -> Iterator[str]:
        return self._named(may_be_snapshot, _tell) if self.directory.is_dir() else iter([str(self.directory)])

    def _marks(self) -> Iterator[Path]:
        return map(Path, self._named(is_mark)) if self.directory.is_dir() else iter([mark_of(self.directory)])

    def _named(self, wanted: Callable[[str], bool], tell: Callable[[OSError], object] | None = None) -> Iterator[str]:
        """Yields the paths of files with names that are wanted, and tells of folders that cannot be looked into."""
        for folder, below, names in os.walk(self.directory, onerror=tell):
            below[:] = [name for name in below if not name.startswith(".")]
            place = "" if folder == os.curdir else str(Path(folder))  # without its "./"
            yield from (os.path.join(place, name) for name in names if wanted(name))

    def kept_code(self, digest: str) -> bytes | None:
        folders = {os.path.dirname(path) for path in self._paths()}
        found = (FileStore(folder).kept_code(digest) for folder in sorted(folders))
        return next((data for data in found if data is not None), None)

    def delete(self, *locations: str) -> None:
        for folder in sorted({Path(location).parent for location in locations}):
            FileStore(folder, self.mode).delete(*(one for one in locations if Path(one).parent == folder))
            for link in folder.glob(f"*{CURRENT}*"):
                if link.is_symlink() and not link.exists():  # the newest of a prefix is gone
                    with suppress(OSError):
                        link.unlink()


def followed(path: Path) -> Path:
    """Returns the file that a link leads to, as `_current` does; anything else as it is."""
    return path.resolve() if path.is_symlink() and path.is_file() else path


def _tell(error: OSError) -> None:
    log.warning("%s cannot be looked into: %s", error.filename, error.strerror)
