"""Stored snapshots of every state of the format are restored, and continue to the same bytes."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.graph import Workflow
from runner.launcher import Launcher
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores.file import FileStore
from tests.stored import FUNCTION, HERE, KINDS, ROOT, digests, processor

SETS = sorted(path for path in HERE.iterdir() if path.name.startswith("format"))
FILES = [path for folder in SETS for path in sorted(folder.glob("*.pickle*"))]
EXACT = ("random", "loader.permutation", "loader.stream", "count", "control", "history")
"""Parts of states that are the same on every processor: no sum of floating-point numbers is in them."""


def expected(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / "expected.json").read_text())
    return found


def continued(location: str | Path, tmp_path: Path) -> Workflow:
    """Restores a snapshot and runs it to its end."""
    workflow = restore(location, trusted=["tests", FUNCTION]).workflow
    for snapshotter in snapshotters(workflow):
        snapshotter.configure(store=FileStore(tmp_path / "continued"))
    Launcher(device="cpu", threads=1).run(workflow)
    return workflow


def check(folder: Path, name: str, workflow: Workflow) -> None:
    wanted, found = expected(folder)[name], digests(workflow)
    assert found.keys() >= wanted.keys()  # a class may have got more state
    here = expected(folder)["processor"] == processor()
    parts = [path for path in wanted if here or path.startswith(EXACT)]
    assert parts
    assert [path for path in parts if found[path] != wanted[path]] == []


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_all_kinds_are_stored() -> None:
    for folder in SETS:
        kept = {path.name.partition(".")[0] for path in folder.iterdir() if path.suffix != ".json"}
        assert kept == expected(folder).keys() - {"processor"}
        assert kept <= {*KINDS, "rows"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_file_goes_on_to_the_same_bytes(path: Path, tmp_path: Path) -> None:
    check(path.parent, path.name.partition(".")[0], continued(path, tmp_path))


@pytest.mark.parametrize(
    "folder", [folder for folder in SETS if (folder / "rows.db").is_file()], ids=lambda folder: folder.name
)
def test_rows_go_on_to_the_same_bytes(folder: Path, tmp_path: Path, odbc_folder: Path) -> None:
    database = tmp_path / "rows.db"
    shutil.copy(folder / "rows.db", database)
    with closing(sqlite3.connect(database)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM veles_chunks").fetchone()
    assert rows > 3
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={database}")
    (entry,) = store.list()
    check(folder, "rows", continued(entry.location, tmp_path))
