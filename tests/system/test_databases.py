"""The core promise from a database: a run stopped at any moment continues bit for bit, however it is resumed."""

import pickle
import random
import re
import signal
from pathlib import Path

import pytest

from runner.graph import Workflow
from runner.snapshots.constructors import SnapshotterToDB
from runner.snapshots.odbc.odbc_store import OdbcStore
from tests import forked
from tests.conftest import Run
from tests.servers import PASSWORD, Server, query
from tests.states import differences, state_of
from tests.system.test_resume import epoch_lines, final_snapshot, run_until_signal
from tests.workflows import Holder, restored

BASE = ("conf=mnist_small", "seed=7")
EPOCHS = 8


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    output = forked.output([*BASE, f"decision.max_epochs={EPOCHS}", "plotters=false", "report=false"], cwd=folder)
    return state_of(folder / final_snapshot(output)), epoch_lines(output)


@pytest.fixture
def named(database: Server, odbc_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A database that is also known as the data source `snapshots`, and in the environment."""
    driver, *rest = database.odbc.split(";")
    keys = "\n".join(rest).replace("SERVER=", "Servername=" if "PostgreSQL" in driver else "Server=")
    keys = keys.replace("UID=", "Username=" if "PostgreSQL" in driver else "User=").replace("PWD=", "Password=")
    name = driver.removeprefix("DRIVER={").removesuffix("}")
    (odbc_folder / "odbc.ini").write_text(f"[snapshots]\nDriver={name}\n{keys}\n")
    monkeypatch.setenv("VELES_TEST_ODBC", database.odbc)
    return database


def ways(odbc: str, location: str) -> list[list[str]]:
    """Returns the ways to go on from a run's newest snapshot; most say where to write by saying where to read."""
    _, table, run, log, name = location.rsplit("&", 4)
    conf = "conf=mnist_small"
    return [
        [f"snapshot=odbc://{odbc}&{table}&{run}&{log}&{name}"],
        [f"+snapshot=odbc://{odbc}&{table}&{run}&{log}"],
        ["--snapshot", f"odbc://{odbc}&&{run[:12]}&{log[:12]}"],
        [conf, f"snapshotter.odbc={odbc}", "snapshot=latest"],
        [*BASE, "snapshotter.odbc=${oc.env:VELES_TEST_ODBC}", "snapshot=auto"],
        [f"snapshot=odbc://${{oc.env:VELES_TEST_ODBC}}&{table}&{run}&{log}&{name}"],
        [conf, "snapshotter.odbc=DSN=snapshots", "-w", "latest"],
    ]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_every_way_of_resuming_continues_identically(named: Server, veles_run: Run, tmp_path: Path, uninterrupted) -> None:
    state, lines = uninterrupted
    output = veles_run(*BASE, "decision.max_epochs=1", f"snapshotter.odbc={named.odbc}").stdout
    seen = epoch_lines(output)
    _, _, run, log, name = final_snapshot(output).split("&")
    assert query(named, "SELECT id, log_id, workflow, name, codec FROM veles") == [(run, log, "mnist_small", name, "gz")]
    assert re.fullmatch(r"mnist_small\.validation_[\d.]+_train_[\d.]+\.5", name)
    for number in range(EPOCHS - 1):
        arguments = ways(named.odbc, final_snapshot(output))[number]
        output = veles_run(*arguments, f"decision.max_epochs={number + 2}").stdout
        seen += epoch_lines(output)
    assert seen == lines
    (full,) = ways(named.odbc, final_snapshot(output))[0]
    assert differences(state, state_of(full.removeprefix("snapshot="))) == []
    assert len(query(named, "SELECT id FROM veles")) == EPOCHS
    assert not list(tmp_path.rglob("*.pickle*"))


def test_stopped_runs_continue_identically(
    database: Server, veles_run: Run, tmp_path: Path, rng: random.Random, uninterrupted
) -> None:
    state, lines = uninterrupted
    seen: list[str] = []
    arguments = [*BASE, f"decision.max_epochs={EPOCHS}", f"snapshotter.odbc={database.odbc}", "snapshotter.table=my_runs"]
    for codec in rng.sample(["gz", "bz2", "xz", "snappy", "zst", "none"], 2):
        code, output = run_until_signal(tmp_path, arguments, signal.SIGTERM, rng)
        assert code == 75, output
        seen += epoch_lines(output)
        where = final_snapshot(output).replace("PWD=***", f"PWD={PASSWORD}")
        arguments = [f"snapshot={where}", f"snapshotter.compression={codec}"]
    output = veles_run(*arguments).stdout
    assert seen + epoch_lines(output) == lines
    OdbcStore(database.odbc)  # knows the password from here on
    assert differences(state, state_of(final_snapshot(output))) == []


def test_from_files_to_a_database_and_back(database: Server, veles_run: Run, tmp_path: Path, uninterrupted) -> None:
    state, lines = uninterrupted
    first = veles_run(*BASE, "decision.max_epochs=2").stdout
    second = veles_run(f"snapshot={final_snapshot(first)}", f"snapshotter.odbc={database.odbc}", "decision.max_epochs=4").stdout
    where = final_snapshot(second).replace("PWD=***", f"PWD={PASSWORD}")
    third = veles_run(f"snapshot={where}", "snapshotter.odbc=null", f"decision.max_epochs={EPOCHS}").stdout
    assert epoch_lines(first) + epoch_lines(second) + epoch_lines(third) == lines
    assert differences(state, state_of(tmp_path / final_snapshot(third))) == []


def test_a_workflow_of_the_users_own(database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workflow = Workflow(name="own")
    holder = Holder(workflow, list(range(10)), "holder").link_from(workflow.start_point)
    snapshotter = SnapshotterToDB(workflow, "snapshotter", odbc=database.odbc, compression="zst")
    snapshotter.link_from(holder)
    workflow.end_point.link_from(snapshotter)
    workflow.initialize()
    workflow.run()
    snapshotter.finish()
    again = restored(snapshotter.last_location).workflow
    assert again["holder"].value == list(range(10))
    assert again["snapshotter"].place == snapshotter.place
    assert PASSWORD.encode() not in pickle.dumps(again["snapshotter"].store)
    again.initialize()
    again["snapshotter"].export()
    again["snapshotter"].finish()
    assert len(list(again["snapshotter"].store.list())) == 2
