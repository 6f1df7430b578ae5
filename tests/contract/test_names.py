"""Names that lie: of another codec than the content's, or that lead out of the folder. All are harmless, in every store."""

import itertools
import sqlite3
from pathlib import Path

import pytest

from runner.errors import SnapshotNotFoundError, StoreError
from runner.snapshots.codecs import CODECS
from runner.snapshots.format.reader import read_header
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore, restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from runner.snapshots.stores.store import Store
from tests.conftest import Run
from tests.contract.test_stores import NONE, content, header
from tests.servers import Server, execute
from tests.workflows import holding, restored, stored

POLICY = Policy(trusted=["tests"])

OUTSIDE = (
    "../x",
    "../../x",
    "/x",
    "/etc/x",
    "a/../../x",
    "..",
    ".",
    "...",
    "..\\x",
    "C:\\x",
    "x/",
    "//x",
    "~/x",
    "$HOME",
    "a\0b",
    "\n",
)
"""Names that lead out of a folder, here or elsewhere."""


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(("codec", "named"), list(itertools.permutations(CODECS, 2)))
def test_a_file_named_like_another_codec(codec: str, named: str, tmp_path: Path) -> None:
    workflow, _, snapshotter = holding([codec, named], tmp_path, compression=codec)
    workflow.run()
    path = tmp_path / f"other.5{CODECS[named].extension}"
    Path(snapshotter.last_location).rename(path)
    assert restored(path).workflow["holder"].value == [codec, named]
    assert restore_latest([FileStore(tmp_path)], lambda header: True, POLICY).location == str(path)


@pytest.mark.parametrize("codec", ["gz", "none"])
def test_a_row_whose_codec_is_a_lie(codec: str, database: Server) -> None:
    store = OdbcStore(database.odbc)
    store.prepare()
    _, _, snapshotter = stored([1, codec], store, compression=codec, blocking=True)
    snapshotter.export()
    for lie in ("", "xz", "bz2", "rar", "../x"):
        execute(database, f"UPDATE veles SET codec = '{lie}'")
        assert restore(snapshotter.last_location, trusted=["tests"]).workflow["holder"].value == [1, codec]
        assert restore_latest([store], lambda header: True, POLICY).workflow["holder"].value == [1, codec]


@pytest.mark.parametrize("name", [name for name in OUTSIDE if "\0" not in name])  # which no driver passes on
def test_a_name_in_a_row_leads_nowhere(name: str, odbc_folder: Path, tmp_path: Path) -> None:
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path / 'x.db'}")
    store.prepare()
    _, _, snapshotter = stored(7, store, blocking=True)
    snapshotter.export()
    before = tree(tmp_path)
    with sqlite3.connect(tmp_path / "x.db") as database:
        for table in ("veles", "veles_chunks"):
            database.execute(f"UPDATE {table} SET name = ?", [name])
    database.close()
    found = restore_latest([store], lambda header: True, POLICY)
    assert found.workflow["holder"].value == 7
    store.delete(found.location)
    assert list(store.list()) == []
    assert tree(tmp_path) == before


@pytest.fixture(params=["file", "sqlite"])
def target(request: pytest.FixtureRequest, odbc_folder: Path, tmp_path: Path) -> Store:
    (tmp_path / "target").mkdir()
    if request.param == "file":
        return FileStore(tmp_path / "target" / "in")
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path / 'target' / 'in'}")
    store.prepare()
    return store


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_in_a_header_that_the_spool_delivers_stays_in_the_store(name: str, target: Store, tmp_path: Path) -> None:
    one = header(name, prefix=name, workflow=name, codec="rar")
    folder = tmp_path / "spool"
    spool = SpoolStore(target, folder)
    waiting = spool._spool.directory
    waiting.mkdir(parents=True)
    (waiting / "planted.5.pickle").write_bytes(b"".join(content(one, b"data")))
    delivered = spool.deliver()
    assert list(delivered) == [one.uuid]
    assert spool.waiting == []
    assert b"".join(target.open(delivered[one.uuid])) == b"".join(content(one, b"data"))
    outside = {path for path in tree(tmp_path) if not path.startswith("target/in")}
    assert outside == {"target", "spool", f"spool/{waiting.name}"}
    for path in (tmp_path / "target").glob("in/*"):
        assert path.parent == tmp_path / "target" / "in"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_prefix_and_a_suffix_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "snapshots"
    workflow, _, snapshotter = holding(7, folder, prefix=name)
    workflow.run()
    assert tree(tmp_path) == {"a", "a/snapshots", *(f"a/snapshots/{path.name}" for path in folder.iterdir())}
    assert restored(snapshotter.last_location).workflow["holder"].value == 7
    one = header(f"run_{name}")
    location = Path(FileStore(folder).put(one, NONE, content(one)))
    assert location.parent == folder
    assert read_header(FileStore(folder).open(str(location))) == one


@pytest.mark.parametrize("odbc", ["x", "DRIVER={SQLite3};Database=/nonexistent/x.db"])
@pytest.mark.parametrize("name", ["../x", "/etc/passwd"])
def test_a_location_whose_name_is_a_path_reads_no_file(odbc: str, name: str, odbc_folder: Path) -> None:
    run = "0" * 8
    with pytest.raises((SnapshotNotFoundError, StoreError, ValueError)):
        restore(f"odbc://{odbc}&veles&{run}&{run}&{name}")


def test_a_prefix_of_the_command_line_stays_in_the_folder(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    small = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=1", "seed=7")
    for prefix in ("../../escaped", "..\\escaped"):
        typed = (f"snapshotter.prefix='{prefix}'", "snapshotter.directory=in")
        assert "which have no slashes" in veles_run(*small, *typed, cwd=tmp_path / "run", code=2).stderr
    assert tree(tmp_path) == {"run"}
    done = veles_run(*small, "snapshotter.prefix=..", "snapshotter.directory=in", cwd=tmp_path / "run")
    assert {path.split("/")[0] for path in tree(tmp_path / "run")} == {"in", "outputs"}
    assert tree(tmp_path) - {f"run/{path}" for path in tree(tmp_path / "run")} == {"run"}
    (location,) = [path for path in (tmp_path / "run" / "in").iterdir() if not path.is_symlink()]
    assert f"Snapshot written: in/{location.name}" in done.stdout
