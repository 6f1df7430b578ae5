"""A snapshot decides about weights, and not about where a run writes, connects or signs, nor about what it discloses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.launcher import Launcher
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import TRAILER_SIZE, Digest, header_bytes, header_size
from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.conftest import Run
from tests.servers import Server, query

SMALL = ("conf=mnist_small", "loader.train_size=300", "loader.validation_size=60", "seed=1", "snapshotter.compression=none")
MORE = "decision.max_epochs=2"
KEY = bytes(range(40, 80))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the snapshot of one epoch."""
    folder = tmp_path_factory.mktemp("honest")
    plain = ("plotters=false", "report=false")
    forked.output([*SMALL, "decision.max_epochs=1", "snapshotter.directory=given", *plain], cwd=folder)
    return folder / "given"


@pytest.fixture
def honest(given: Path, tmp_path: Path) -> Path:
    """A snapshot of one epoch, in the folder `given`."""
    shutil.copytree(given, tmp_path / "given", symlinks=True)
    (path,) = (path for path in (tmp_path / "given").iterdir() if not path.is_symlink())
    return path


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Changes the header of a snapshot, which has a right trailer afterwards."""
    stream = path.read_bytes()[:-TRAILER_SIZE]
    size = header_size(stream[:8])
    header = json.loads(stream[7 : size - 1])
    change(header)
    body = header_bytes(Header(**header)) + stream[size:]
    digest = Digest()
    digest.update(body)
    path.write_bytes(body + digest.trailer())
    return path


def setting(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["config"]["snapshotter"].update(values)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_environment_is_not_disclosed(
    honest: Path, veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2hunter2")
    altered(honest, setting(prefix="${oc.env:SECRET}"))
    before = files(tmp_path)
    for source in (f"snapshot={honest}", "snapshot=latest"):
        words = () if "latest" not in source else ("conf=mnist_small", "snapshotter.directory=given")
        done = veles_run(*words, source, MORE, code=2)
        assert "snapshotter.prefix='${oc.env:SECRET}'" in done.stderr
        assert "hunter2" not in done.stdout + done.stderr
    assert not [path for path in files(tmp_path) - before if "hunter2" in str(path) or b"hunter2" in path.read_bytes()]
    veles_run(f"snapshot={honest}", MORE, "snapshotter.prefix=mine")
    assert list(tmp_path.rglob("mine_*.pickle"))
    done = veles_run(f"snapshot={honest}", MORE, "snapshotter.prefix=${oc.env:SECRET}")
    assert list(tmp_path.rglob("hunter2hunter2_*.pickle"))
    assert "${oc.env:SECRET}" in done.stdout.split("Extend:")[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layers", {"fc1": {"learning_rate": "${oc.env:SECRET}"}}),
        ("loader", {"data_dir": "x${oc.env:SECRET}y"}),
        ("workflow", {"name": "${oc.decode:${oc.env:SECRET}}"}),
        ("decision", {"fail_iterations": "${hydra:runtime.cwd}"}),
        ("optimizer", {"settings": ["${oc.env:SECRET}"]}),
    ],
)
def test_references_anywhere(honest: Path, veles_run: Run, monkeypatch: pytest.MonkeyPatch, key: str, value: Any) -> None:
    monkeypatch.setenv("SECRET", "hunter2hunter2")
    altered(honest, lambda header: header["config"][key].update(value))
    done = veles_run(f"snapshot={honest}", MORE, code=2)
    assert "${" in done.stderr
    assert "reads the environment" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_no_other_folder(honest: Path, veles_run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (tmp_path / "link").symlink_to(elsewhere)
    for folder in ("${oc.env:HOME}/x", str(elsewhere), "link", "link/below", "../elsewhere", f"{tmp_path}/../{elsewhere.name}"):
        altered(honest, setting(directory=folder))
        done = veles_run(f"snapshot={honest}", MORE, code=2)
        assert f"snapshotter.directory={folder}" in done.stderr.replace("'", "")
    assert not files(elsewhere)
    veles_run(f"snapshot={honest}", MORE, f"snapshotter.directory={elsewhere}")
    assert files(elsewhere)


def test_the_folder_of_the_snapshot_and_those_below_this_one(honest: Path, veles_run: Run, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    altered(honest, setting(directory=str(honest.parent)))
    veles_run(f"snapshot={honest}", MORE, cwd=away)
    assert len([path for path in honest.parent.iterdir() if not path.is_symlink()]) == 2
    altered(honest, setting(directory="runs/mine"))
    veles_run(f"snapshot={honest}", MORE, cwd=away)
    assert files(away / "runs" / "mine")


def test_no_database(honest: Path, veles_run: Run, tmp_path: Path, odbc_folder: Path) -> None:
    """Neither a server of the attacker's, nor a library as a driver, nor a data source of this machine."""
    for odbc in ("DRIVER={SQLite3};Database=made.db", "DRIVER=/tmp/evil.so", "DSN=payroll", "payroll", "${oc.env:DSN}"):
        altered(honest, setting(odbc=odbc))
        done = veles_run(f"snapshot={honest}", MORE, code=2)
        assert "snapshotter.odbc=" in done.stderr
    assert not (tmp_path / "made.db").exists()
    altered(honest, setting(odbc="DRIVER={SQLite3};Database=made.db"))
    veles_run(f"snapshot={honest}", MORE, "snapshotter.odbc='DRIVER={SQLite3};Database=made.db'")
    assert (tmp_path / "made.db").exists()


def test_the_database_of_the_snapshot(servers: Any, veles_run: Run, tmp_path: Path) -> None:
    database: Server = servers.database("sqlite", tmp_path)
    veles_run(*SMALL, "decision.max_epochs=1", f"snapshotter.odbc={database.odbc}")
    (row,) = query(database, "SELECT id, log_id FROM veles")
    location = f"odbc://{database.odbc}&veles&{row[0]}&{row[1]}"
    veles_run(f"snapshot={location}", MORE)
    assert len(query(database, "SELECT id FROM veles")) == 2


def test_nobody_signs_for_a_stranger(honest: Path, veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    monkeypatch.setenv("KEY", KEY.decode())
    for value in (str(key), "env:KEY", "${oc.env:HOME}/key"):
        altered(honest, setting(key=value))
        done = veles_run(f"snapshot={honest}", MORE, code=2)
        assert "snapshotter.key=" in done.stderr
    altered(honest, setting(key=str(key)))
    veles_run(f"snapshot={honest}", MORE, "snapshotter.key=null", "snapshotter.directory=plain")
    veles_run(f"snapshot={honest}", MORE, f"snapshotter.key={key}", "snapshotter.directory=signed")
    for folder, code in (("plain", 2), ("signed", 0)):
        (made,) = (path for path in (tmp_path / folder).iterdir() if not path.is_symlink())
        veles_run(f"snapshot={made}", "mode=evaluate", "restore.trust=signed", f"restore.key={key}", code=code)


def test_a_run_that_signs_goes_on_with_the_key_that_was_checked(veles_run: Run, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    done = veles_run(*SMALL, "decision.max_epochs=1", f"snapshotter.key={key}", "snapshotter.directory=given")
    assert f"snapshotter.key={key}" in done.stdout.split("Extend:")[1]
    (path,) = (path for path in (tmp_path / "given").iterdir() if not path.is_symlink())
    veles_run(f"snapshot={path}", MORE, "restore.trust=signed", f"restore.key={key}")


def test_a_script_says_where_it_goes_on(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was restored in Python goes on in the folder of the snapshot, or below the current one, and nowhere else."""
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    moved = elsewhere / honest.name
    shutil.copy(honest, moved)
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    workflow = restore(moved).workflow
    workflow.override("decision.max_epochs", 2)
    workflow["snapshotter"].place = str(tmp_path / "given")
    workflow["snapshotter"].store_ = None
    with pytest.raises(ConfigError, match=r"snapshotter\.directory=.*configure\(store=\.\.\.\)"):
        Launcher(device="cpu").run(workflow)
