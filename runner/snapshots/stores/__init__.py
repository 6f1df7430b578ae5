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
    "odbc": "runner.snapshots.odbc.odbc_store:OdbcStore",
}
"""The stores by URL scheme; a path has none. A store, with its driver, is imported only when it is used."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def store_at(location: str | Path) -> Store:
    """Returns the store that a path or a URL belongs to.

    Raises:
        ConfigError: there is no store for its scheme, or a part of the URL is missing.
    """
    found = _SCHEME.match(str(location))
    scheme = found[1] if found else ""
    if scheme not in STORES:
        raise ConfigError(f"{passwords.redact(str(location))!r}: there is no store for {scheme}://; {choices(scheme, STORES)}")
    cls: type[Store] = pkgutil.resolve_name(STORES[scheme])
    return cls.of(str(location))


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
