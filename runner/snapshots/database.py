"""Snapshotters that may write to a database."""

from __future__ import annotations

from typing import Any

from runner.graph import Workflow
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.spool import SpoolStore
from runner.snapshots.stores.store import Store

DEFAULT_SPOOL = "outputs/spool"
"""The folder for what a database refuses; always the same, so that the next run finds it."""


class SnapshotterToStore(Snapshotter):
    """Takes snapshots into a store, which may be another one when the run is resumed.

    Args:
        store: where the snapshots go.
    """

    def configure(self, *, store: Store | None = None, **settings: Any) -> None:
        super().configure(**settings)
        if store is not None:
            self._store = store

    @property
    def store(self) -> Store:
        return self._store

    @property
    def destination(self) -> str:
        return str(self._store)


class SnapshotterToDB(SnapshotterToStore):
    """Takes snapshots into a table of a database.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source; `${oc.env:NAME}` may stand in it.
        table: the table.
        create_table: whether it is made if it is not there.
        spool: the folder for snapshots that the database refuses, until it takes them; none if empty.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str | None = None,
        *,
        odbc: str,
        table: str = DEFAULT_TABLE,
        create_table: bool = True,
        spool: str = DEFAULT_SPOOL,
        on_error: str | None = None,
        **settings: Any,
    ) -> None:
        from runner.snapshots.odbc.odbc_store import OdbcStore  # what it imports is not for runs into files

        store = with_spool(OdbcStore(odbc, table, create_table), spool, on_error)
        super().__init__(workflow, name, store=store, on_error=on_error, **settings)

    def initialize(self) -> None:
        self.store.prepare()
        super().initialize()


def with_spool(store: Store, spool: str | None, on_error: str | None) -> Store:
    """Returns the store with a spool in that folder, or as it is if there is none."""
    return SpoolStore(store, spool, go_on=on_error != "raise") if spool else store
