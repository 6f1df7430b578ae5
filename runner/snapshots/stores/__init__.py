"""The places where snapshots are kept. A store is one module and one row in the table below."""

from __future__ import annotations

import heapq
import pkgutil
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from runner import passwords
from runner.checks import choices
from runner.errors import ConfigError
from runner.snapshots.stores.store import Entry, Store, Unreadable, ignore

STORES = {
    "": "runner.snapshots.stores.file:FileStore",
    "file": "runner.snapshots.stores.file:FileStore",
    "odbc": "runner.snapshots.odbc.odbc_store:OdbcStore",
    **dict.fromkeys(("s3", "gs", "az", "memory"), "runner.snapshots.remote.remote_store:RemoteStore"),
}
"""The stores by URL scheme; a path has none. A store, with its driver, is imported only when it is used."""

FOLDERS = "runner.snapshots.stores.file_tree:FileTree"
"""The store of a folder with all that is below it."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def store_at(location: str | Path) -> Store:
    """Returns the store that the path or the URL of a snapshot belongs to.

    Raises:
        ConfigError: there is no store for its scheme, or a part of the URL is missing.
    """
    return _class_for(str(location)).of(str(location))


def store_in(place: str | Path, mode: int | None = None) -> Store:
    """Returns the store at a place: a folder, or the URL of one.

    Args:
        place: the place, as `Store.place` gives it.
        mode: permissions of the files that it creates. Default: the umask's.

    Raises:
        ConfigError: there is no store for its scheme, or a part of the URL is missing.
    """
    return _class_for(str(place)).at(str(place), mode)


def whole_store(place: str | Path) -> Store:
    """Returns the store at a place, to look at all that is there: of a folder, also what is in the folders below.

    Raises:
        ConfigError: there is no store for its scheme, or a part of the URL is missing.
        SnapshotNotFoundError: there is no such folder.
    """
    if is_url(str(place)):
        return store_in(place)
    tree: type[Store] = pkgutil.resolve_name(FOLDERS)
    return tree.at(str(place))


def is_url(place: str) -> bool:
    """Whether a place or a location is a URL, and not a path."""
    return _SCHEME.match(place) is not None


def _class_for(url: str) -> type[Store]:
    found = _SCHEME.match(url)
    scheme = found[1] if found else ""
    if scheme not in STORES:
        known = [one for one in STORES if one]
        raise ConfigError(f"{passwords.redact(url)!r}: there is no store for {scheme}://; {choices(scheme, known)}")
    cls: type[Store] = pkgutil.resolve_name(STORES[scheme])
    return cls


def store_of(location: str | Path) -> tuple[Store, str]:
    """Returns the store of a snapshot, and the snapshot's full location in it.

    Raises:
        ConfigError: as in `store_at`.
        SnapshotNotFoundError: there is no such snapshot.
        SnapshotAmbiguousError: the location is an abbreviation that matches several runs.
    """
    store = store_at(location)
    return store, store.find(str(location))


def newest_first(
    stores: Iterable[Store],
    unreadable: Unreadable = ignore,
    *,
    workflow: str | None = None,
    apart_from: Collection[str] = (),
) -> Iterator[tuple[Entry, Store]]:
    """Yields the snapshots of several stores, newest first, each with its store. Reads them lazily, as `Store.list` does."""

    def entries(store: Store) -> Iterator[tuple[Entry, Store]]:
        return ((entry, store) for entry in store.list(unreadable, workflow=workflow, apart_from=apart_from))

    return heapq.merge(*map(entries, stores), key=lambda found: found[0].newest_last, reverse=True)
