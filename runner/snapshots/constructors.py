"""Snapshotters for files and for databases, as VELES names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.graph import Workflow
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores import store_in
from runner.snapshots.stores.file_system import read_mode
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.spool import DEFAULT_SPOOL, with_spool

FOLDER = "snapshots"
"""Where a snapshotter of a script writes its snapshots, unless it is told."""


def SnapshotterToFile(
    workflow: Workflow,
    name: str | None = None,
    *,
    directory: str | Path = FOLDER,
    spool: str | None = None,
    on_error: str | None = None,
    mode: str | int | None = None,
    **settings: Any,
) -> Snapshotter:
    """Makes a snapshotter that writes files into a folder, or objects into a bucket.

    Args:
        directory: the folder, or a URL such as `s3://bucket/folder`.
        spool: the folder for snapshots that a bucket refuses, until it accepts them; empty for none. Default: `DEFAULT_SPOOL`
            with a bucket, none with a folder.
        on_error: as in `SnapshotterSettings`.
        mode: permissions of the files, such as `"0600"`. Default: the umask's.
        settings: as in `Snapshotter`.
    """
    store = with_spool(store_in(directory, read_mode(mode)), spool, on_error, read_mode(mode))
    return Snapshotter(workflow, name, store=store, on_error=on_error, **settings)


def SnapshotterToDB(
    workflow: Workflow,
    name: str | None = None,
    *,
    odbc: str,
    table: str = DEFAULT_TABLE,
    create_table: bool = True,
    spool: str = DEFAULT_SPOOL,
    on_error: str | None = None,
    mode: str | int | None = None,
    **settings: Any,
) -> Snapshotter:
    """Makes a snapshotter that writes rows into a database table.

    Args:
        odbc: a connection string, `DSN=name`, or the bare name of a data source. It may contain `${oc.env:NAME}`.
        table: the table.
        create_table: whether to create the table if it does not exist.
        spool: the folder for snapshots that the database refuses, until it accepts them; empty for none.
        on_error: as in `SnapshotterSettings`.
        mode: permissions of the files in the spool. Default: the umask's.
        settings: as in `Snapshotter`.
    """
    from runner.snapshots.odbc.odbc_store import OdbcStore  # runs that write files do not need its imports

    store = with_spool(OdbcStore(odbc, table, create_table), spool, on_error, read_mode(mode))
    return Snapshotter(workflow, name, store=store, on_error=on_error, **settings)
