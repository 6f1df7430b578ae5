"""A place with snapshots, and how each of them is called."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from runner.errors import SnapshotAmbiguousError, SnapshotError, SnapshotNotFoundError
from runner.snapshots.format.reader import read_start
from runner.snapshots.shelf.wanted import Ranking, Wanted
from runner.snapshots.stores import store_of, whole_store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_tree import FileTree, followed
from runner.snapshots.stores.location import TAG, concealed
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.spool import with_spool
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore

_ID = re.compile(r"[0-9a-f]{4,8}(?:-?[0-9a-f]+)*-?")
SHORT = 8
"""Characters of an id that are shown."""


class Shelf:
    """A place with snapshots: a folder with those below it, a file, a table with its spool, or a URL.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def at(cls, place: str, spool: str | None = None) -> Shelf:
        """Returns the shelf at a place, as a person types it.

        Args:
            place: a folder, a file, or a URL.
            spool: for a database: the folder in which snapshots wait for it.
        """
        store = whole_store(place)
        return cls(store if isinstance(store, FileTree) else with_spool(store, spool, None, None))

    @cached_property
    def marks(self) -> Mapping[str, Mark]:
        """What is written on the snapshots, by UUID."""
        return self.store.marks()

    def tagged(self, tag: str) -> list[Entry]:
        """Returns the snapshots with a tag, newest first."""
        return list(self.entries(Wanted(tag=tag)))

    def entries(self, wanted: Wanted | None = None, unreadable: Unreadable = ignore) -> Iterator[Entry]:
        """Yields the snapshots that are wanted, newest first; those that need not be read are not."""
        wanted = wanted or Wanted()
        tagged = None if wanted.tag is None else {uuid for uuid, mark in self.marks.items() if wanted.tag in mark.tags}
        if tagged is not None and not tagged:
            return  # nothing need be read
        for entry in self.store.list(unreadable, workflow=wanted.workflow):
            if entry.header.time < wanted.since:
                return
            if wanted.admits(entry.header) and (tagged is None or entry.header.uuid in tagged):
                yield entry

    def find(self, name: str) -> tuple[Entry, Store]:
        """Returns the snapshot that a name stands for, and the store that it is in.

        Args:
            name: a file, a location, `latest`, `best`, `tag:NAME`, or the beginning of its id.

        Raises:
            SnapshotNotFoundError: there is none.
            SnapshotAmbiguousError: there are several.
        """
        if "://" in name:
            store, location = store_of(concealed(name))
            return _located(store, location), store
        if Path(name).is_file():
            path = followed(Path(name))
            return _file(str(path)), FileTree(path.parent)
        entry = self._word(name)
        return entry, self.store

    def _word(self, name: str) -> Entry:
        match name:
            case "latest":
                found = list(self.entries())[:1]
            case "best":
                found = [one.best for one in rankings(self.entries()).values() if one.best is not None]
            case _ if name.startswith(TAG):
                found = self.tagged(name.removeprefix(TAG))
            case _ if _ID.fullmatch(name):
                found = [entry for entry in self.entries() if entry.header.uuid.startswith(name)]
            case _:
                raise SnapshotNotFoundError(
                    f"there is no file {name!r}, and it is no name of a snapshot: latest, best, tag:NAME, or the"
                    " beginning of an id as `veles-snapshots ls` shows it"
                )
        if not found:
            raise SnapshotNotFoundError(f"there is no snapshot {name!r} in {self.store}")
        if len({entry.header.uuid for entry in found}) > 1:
            listed = ", ".join(f"{entry.header.uuid[:SHORT]} ({entry.header.workflow})" for entry in found[:5])
            raise SnapshotAmbiguousError(f"{name!r} fits {len(found)} snapshots in {self.store}: {listed}; name one of them")
        return found[0]


def rankings(entries: Iterator[Entry]) -> dict[str, Ranking]:
    """Returns the rankings of each workflow's snapshots that have a score: errors of different ones cannot be compared."""
    by_workflow: dict[str, Ranking] = {}
    for entry in entries:
        if entry.header.score is not None:
            by_workflow.setdefault(entry.header.workflow, Ranking()).add(entry)
    return by_workflow


def own_store(entry: Entry, store: Store) -> Store:
    """Returns the store in which a run claims itself: the folder of a file, not one above it."""
    return FileStore(Path(entry.location).parent) if isinstance(store, FileTree) else store


def _file(name: str) -> Entry:
    """Returns the snapshot in a file."""
    errors: list[SnapshotError] = []
    for entry in FileTree(name).list(lambda where, error: errors.append(error)):
        return entry
    if errors:
        raise type(errors[0])(f"{name!r}: {errors[0]}") from errors[0]
    raise SnapshotNotFoundError(f"{name!r} is no snapshot")


def _located(store: Store, location: str) -> Entry:
    """Returns the snapshot at a location."""
    blocks = store.open(location)
    try:
        header, codec = read_start(blocks)
    finally:
        if isinstance(blocks, Generator):
            blocks.close()
    return Entry(location, header, None, codec.name)
