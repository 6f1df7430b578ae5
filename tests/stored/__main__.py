"""Writes a set of stored snapshots: see `tests.stored`."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.graph import Workflow
from runner.launcher import Launcher
from runner.snapshots.format.header import FORMAT
from runner.snapshots.odbc import session
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores.file import FileStore
from tests.servers import odbc_settings
from tests.stored import DATABASE, HERE, KINDS, ROOT, Make, digests, processor


def ran(make: Make, codec: str, store: Any) -> tuple[Workflow, list[str]]:
    """Runs a workflow to its end; returns it, and where its snapshots are."""
    locations: list[str] = []
    put = type(store).put

    class Recording(type(store)):  # type: ignore[misc]
        def put(self, *arguments: Any) -> str:
            locations.append(put(self, *arguments))
            return locations[-1]

    store.__class__ = Recording
    workflow = make(store, codec)
    for snapshotter in snapshotters(workflow):
        snapshotter.skip = False
    Launcher(device="cpu", threads=1).run(workflow)
    return workflow, locations


def write(folder: Path, kinds: Iterable[str]) -> None:
    """Writes some kinds into a new folder; `rows` is the database."""
    os.chdir(ROOT)
    folder.mkdir()
    expected: dict[str, Any] = {"processor": processor()}
    for name in kinds:
        if name == "rows":
            expected[name] = digests(_in_database(folder))
            continue
        make, codec = KINDS[name]
        workflow, locations = ran(make, codec, FileStore("tests/stored/made"))
        kept = Path(locations[len(locations) // 2 - 1])
        shutil.copy(kept, folder / f"{name}{''.join(kept.suffixes[-2:]) if codec != 'none' else '.pickle'}")
        expected[name] = digests(workflow)
    (folder / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
    shutil.rmtree("tests/stored/made")


def _in_database(folder: Path) -> Workflow:
    session.ROW = 4096
    with odbc_settings():
        store = OdbcStore(f"DRIVER={{SQLite3}};Database={folder / 'rows.db'}")
        workflow, locations = ran(*DATABASE, store)
        store.delete(*locations[:1], *locations[2:])
    return workflow


if __name__ == "__main__":
    name, *chosen = sys.argv[1:] or [f"format{FORMAT}"]
    write(HERE / name, chosen or [*KINDS, "rows"])
