"""What a snapshot may decide: nothing about where the run that restores it writes, connects or signs.

A place that only the snapshot names is taken if the restore has named it as well, by naming the snapshot that lies there, or if
it is below the current folder.
"""

from __future__ import annotations

from pathlib import Path

from runner.snapshots.stores import is_url
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import no_wider
from runner.snapshots.stores.spool import with_spool
from runner.snapshots.stores.store import Store


def granted(place: str, mode: int | None, restored_from: Store) -> Store | None:
    """Returns the store at a place that a snapshot names, or None if nobody else has named it.

    Args:
        place: as `Store.place` gives it.
        mode: permissions of its files, as far as the umask allows them.
        restored_from: the store in which the snapshot lies.
    """
    if is_url(place):
        return with_spool(restored_from, None, None, no_wider(mode)) if place == restored_from.place else None
    return FileStore(place, no_wider(mode)) if folder_is_granted(place, restored_from.place) else None


def folder_is_granted(folder: str, beside: str) -> bool:
    """Whether snapshots may go on in a folder: that in which the restored one lies, or one below the current folder.

    Links count as what they lead to.
    """
    if is_url(folder) or "${" in folder or "\0" in folder:
        return False
    path, here = Path(folder).resolve(), Path.cwd().resolve()
    # Below the root is everything.
    return (here != Path(here.anchor) and path.is_relative_to(here)) or (not is_url(beside) and path == Path(beside).resolve())
