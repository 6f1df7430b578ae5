"""A third store, as somebody would add it: one class, and one row in the table of stores."""

import threading
from collections.abc import Collection, Iterable, Iterator
from typing import ClassVar, Self

from runner.errors import SnapshotError, SnapshotNotFoundError
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import read_header
from runner.snapshots.stores.free_names import first_free
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore, selected

ROW = {"kept": "tests.memory_store:MemoryStore"}


class MemoryStore(Store):
    """Keeps snapshots in the memory of the process, as `kept://<name of the store>/<name of the snapshot>`."""

    kept: ClassVar[dict[str, bytes]] = {}
    writing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def at(cls, place: str, mode: int | None = None) -> Self:
        return cls(place.removeprefix("kept://"))

    @classmethod
    def of(cls, location: str) -> Self:
        return cls(location.removeprefix("kept://").partition("/")[0])

    @property
    def place(self) -> str:
        return f"kept://{self.name}"

    def __str__(self) -> str:
        return self.place

    def prepare(self) -> None:
        return

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        data = b"".join(map(bytes, members))
        with self.writing:
            if there := [entry.location for entry in self.list(runs=[header.run_id]) if entry.header.uuid == header.uuid]:
                return there[0]
            location = f"{self.place}/{header.name}"
            number = first_free(lambda one: f"{location}_{one}" in self.kept, 1)
            self.kept[f"{location}_{number}"] = data
            return f"{location}_{number}"

    def open(self, location: str) -> Iterator[bytes]:
        if location not in self.kept:
            raise SnapshotNotFoundError(f"there is no snapshot {location!r}")
        return iter([self.kept[location]])

    def list(
        self,
        unreadable: Unreadable = ignore,
        *,
        runs: Collection[str] | None = None,
        workflow: str | None = None,
        apart_from: Collection[str] = (),
    ) -> Iterator[Entry]:
        entries = []
        for location, data in self.kept.items():
            try:
                if location.startswith(f"{self.place}/"):
                    entries.append(Entry(location, read_header([data])))
            except SnapshotError as error:
                unreadable(location, error)
        newest_first = sorted(entries, key=lambda entry: entry.newest_last, reverse=True)
        return (entry for entry in newest_first if selected(entry.header, runs, workflow, apart_from))

    def find(self, location: str) -> str:
        return location

    def delete(self, *locations: str) -> None:
        for location in locations:
            self.open(location)
        for location in locations:
            del self.kept[location]
