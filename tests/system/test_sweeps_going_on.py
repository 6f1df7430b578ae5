"""A sweep goes on in its folder: what is done stays as it is, what was stopped goes on, and the rest begins."""

import fcntl
import json
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas
import pytest

from runner.cli.overrides import as_override
from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.conftest import Run
from tests.servers import Servers
from tests.states import differences, state_of

SMALL = ("conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "plotters=false")
WITHOUT_TIMES = ["job", "layers.fc1.learning_rate", "status", "objective", "best_epoch", "epochs"]
STUB = """
import pathlib
from runner import Unit, Workflow

class Fragile(Unit):
    def run(self):
        if pathlib.Path("broken").exists() and self.workflow.number == 1:
            raise ValueError("broken is there")

class Stub(Workflow):
    def __init__(self, number=0, other=0):
        super().__init__()
        self.number = number
        self.end_point.link_from(Fragile(self).link_from(self.start_point))

    @property
    def objective(self):
        return float(self.number)
"""
STUBS = ("-m", "workflow._target_=stub.Stub", "report=false")


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    (tmp_path / "stub.py").write_text(STUB)
    return tmp_path


def job(folder: Path, number: int) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / str(number) / "result.json").read_text())
    return result


def sweeps(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob("multirun/*/*/*/multirun.yaml"))]


def test_a_stopped_sweep_is_continued_by_the_command_that_it_prints(veles_run: Run, tmp_path: Path) -> None:
    sweep = ("-m", *SMALL, "decision.max_epochs=40", "layers.fc1.learning_rate=0.1,0.2,0.3")
    # The second job is stopped after its third epoch.
    with forked.Started(sweep, cwd=tmp_path) as started:
        started.wait_for_line("Epoch ", 40 + 3)
        started.send_signal(signal.SIGTERM)
        done = started.end(60)
    output = done.stdout
    assert done.returncode == 75
    assert re.search("^1 job has not begun$", output, re.MULTILINE)
    (command,) = re.findall("^Continue the sweep: veles-run (.*)$", output, re.MULTILINE)
    (folder,) = sweeps(tmp_path)
    first = (folder / "0" / "result.json").stat().st_mtime_ns
    veles_run(*shlex.split(command))
    assert (folder / "0" / "result.json").stat().st_mtime_ns == first
    veles_run(*sweep, f"seed={job(folder, 0)['seed']}", "hydra.sweep.dir=whole")
    tables = [pandas.read_csv(path / "sweep.csv") for path in (folder, tmp_path / "whole")]
    assert tables[0][WITHOUT_TIMES].equals(tables[1][WITHOUT_TIMES])
    for number in range(3):
        states = [state_of(tmp_path / job(path, number)["last_snapshot"]) for path in (folder, tmp_path / "whole")]
        assert not differences(*states)
    assert len(sweeps(tmp_path)) == 1


def test_jobs_are_the_same_in_another_order_with_more_of_them_and_a_higher_limit(veles_run: Run, tmp_path: Path) -> None:
    veles_run("-m", *SMALL, "decision.max_epochs=1", "layers.fc1.learning_rate=0.1,0.2")
    (folder,) = sweeps(tmp_path)
    seed = job(folder, 0)["seed"]
    rates = "layers.fc1.learning_rate=0.3,0.20,0.1"
    output = veles_run(rates, *reversed(SMALL), "decision.max_epochs=2", "sweep=auto", "-m").stdout
    assert "0 of 3 jobs are done" in output
    assert sweeps(tmp_path) == [folder]
    table = pandas.read_csv(folder / "sweep.csv").sort_values("job")
    assert list(table["layers.fc1.learning_rate"]) == [0.1, 0.2, 0.3]
    assert list(table["epochs"]) == [2, 2, 2]
    assert job(folder, 2)["seed"] == seed
    before = [job(folder, number) for number in range(3)]
    assert "3 of 3 jobs are done" in veles_run("-m", *SMALL, "decision.max_epochs=2", rates, "sweep=latest").stdout
    assert [job(folder, number) for number in range(3)] == before


def test_jobs_that_have_failed_are_repeated_if_that_is_wanted(veles_run: Run, stub: Path) -> None:
    (stub / "broken").touch()
    sweep = (*STUBS, "workflow.number=0,1,2", "sweep=auto")
    veles_run(*sweep, code=1)
    (folder,) = sweeps(stub)
    assert [job(folder, number)["status"] for number in range(3)] == ["finished", "failed", "finished"]
    (stub / "broken").unlink()
    done = veles_run(*sweep, code=1)
    assert [line for line in done.stderr.splitlines() if "job 1" in line and "broken is there" in line]
    veles_run(*sweep, "sweep.retry=failed")
    assert [job(folder, number)["status"] for number in range(3)] == ["finished"] * 3
    assert list(pandas.read_csv(folder / "sweep.csv")["job"]) == [0, 1, 2]


def test_each_job_has_a_seed_of_its_own_whenever_it_begins(veles_run: Run, stub: Path) -> None:
    sweep = (*STUBS, "workflow.number=0,1,2", "sweep.seed=per_job", "sweep=auto")
    veles_run(*sweep)
    (folder,) = sweeps(stub)
    seeds = [job(folder, number)["seed"] for number in range(3)]
    assert len(set(seeds)) == 3
    shutil.rmtree(folder / "1")
    veles_run(*sweep)
    assert [job(folder, number)["seed"] for number in range(3)] == seeds
    assert "sweep.seed" in veles_run(*sweep, "seed=1", code=2).stderr


def test_auto_begins_another_sweep_where_no_job_is_the_same(veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, "workflow.number=0,1", "sweep=auto")
    veles_run(*STUBS, "workflow.number=2,3", "sweep=auto")
    veles_run(*STUBS, "workflow.number=0,1", "workflow.other=0,1", "sweep=auto")
    assert len(sweeps(stub)) == 3
    veles_run(*STUBS, "workflow.number=1,5", "sweep=auto")  # in another order, and with another job
    assert len(sweeps(stub)) == 3


def test_a_changed_conf_file_is_refused_by_its_keys(veles_run: Run, tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "own.yaml"
    conf.parent.mkdir()
    conf.write_text("defaults: [mnist_small]\nloader: {train_size: 200}\n")
    sweep = ("-m", "conf=own", "decision.max_epochs=1", "loader.validation_size=100", "seed=1,2", "sweep=auto")
    veles_run(*sweep)
    conf.write_text("defaults: [mnist_small]\nloader: {train_size: 300}\n")
    assert "loader.train_size=200" in veles_run(*sweep, code=2).stderr
    conf.write_text("loader:\n  train_size: 200\n  # as it was\ndefaults: [mnist_small]\n")
    assert "2 of 2 jobs are done" in veles_run(*sweep).stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("-m", "workflow.number=0,1", "sweep=nowhere"), "nowhere"),
        (("-m", "workflow.number=0,1", "sweep=latest"), "sweep=auto"),
        (("-m", "workflow.number=0,1", "sweep="), "sweep="),
        (("-m", "workflow.number=0,1", "sweep=."), "sweep=."),
        (("-m", "workflow.number=0,1", "sweep=there", "hydra.sweep.dir=elsewhere"), "elsewhere"),
        (("-m", "workflow.number=0,1", "sweep.retry=never"), "never"),
        (("sweep=latest",), "-m"),
        (("sweep.retry=failed", "workflow.number=1"), "sweep.retry"),
    ],
)
def test_a_sweep_that_cannot_go_on_says_why(typed: tuple[str, ...], said: str, veles_run: Run, stub: Path) -> None:
    done = veles_run("workflow._target_=stub.Stub", *typed, code=2)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not list(stub.glob("multirun/*/*/*/0"))


def test_changed_data_and_code_are_refused_by_their_names(veles_run: Run, tmp_path: Path) -> None:
    data, code = tmp_path / "pets.csv", tmp_path / "net.py"
    rows = [f"{number % 7},{number % 5},{number % 2}" for number in range(40)]
    data.write_text("\n".join(["a,b,label", *rows]))
    code.write_text("import torch\n\nclass Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "pets.yaml").write_text(
        "loader: {name: table, data_file: pets.csv, label: label, validation_ratio: 0.2}\ndecision: {max_epochs: 1}\n"
        "model: {_target_: net.Net}\nloss: {_target_: torch.nn.CrossEntropyLoss}\n"
    )
    (tmp_path / "conf" / "optimizer").mkdir()
    for name, rate in {"fast": 0.1, "slow": 0.01}.items():
        (tmp_path / "conf" / "optimizer" / f"{name}.yaml").write_text(f"_target_: torch.optim.SGD\nlr: {rate}\n")
    option = tmp_path / "conf" / "optimizer" / "slow.yaml"
    sweep = ("-m", "conf=pets", "seed=1", "optimizer=fast,slow", "sweep=auto", "report=false", "plotters=false")
    veles_run(*sweep)
    for file, was, now in ((data, "label\n", "label\n1,1,1\n"), (code, "2, 2", "2, 3"), (option, "0.01", "0.02")):
        before = file.read_text()
        file.write_text(before.replace(was, now))
        (line,) = veles_run(*sweep, code=2).stderr.splitlines()
        assert f"{file.name} has changed since the sweep began" in line
        file.write_text(before)
    assert "2 of 2 jobs are done" in veles_run(*sweep).stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("workflow.number=0,1", "workflow.other=2"), "workflow.other=1 in all jobs, and now it is 2"),
        (("workflow.number=0,1",), "had workflow.other=1"),
        (("workflow.other=1",), "had workflow.number=0,1"),
        ((), "had workflow.number=0,1"),
        (("workflow.number=0,1", "workflow.other=1", "seed=3"), "did not have seed"),
        (("workflow.number=0,1", "workflow.other=1", "hydra/sweeper=optuna"), "a search"),
    ],
)
def test_no_other_sweep_is_taken_into_a_folder(typed: tuple[str, ...], said: str, veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, "workflow.number=0,1", "workflow.other=1", "hydra.sweep.dir=there")
    before = {path: path.read_bytes() for path in (stub / "there").rglob("*") if path.is_file()}
    done = veles_run(*STUBS, *typed, "sweep=there", code=2)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "finished" not in done.stdout  # nor a table of the jobs that are there
    assert {path: path.read_bytes() for path in (stub / "there").rglob("*") if path.is_file()} == before


def test_a_sweep_that_goes_on_with_further_values_has_the_former_ones_too(veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, "workflow.number=0,1", "sweep=auto")
    veles_run(*STUBS, "workflow.number=2,3", "sweep=latest")
    assert "2 of 3 jobs are done" in veles_run(*STUBS, "workflow.number=0,1,5", "sweep=auto").stdout
    assert len(sweeps(stub)) == 1


def test_a_sweep_goes_on_in_one_process_at_a_time(veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, "workflow.number=0,1", "hydra.sweep.dir=there")
    with (stub / "there" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (line,) = veles_run(*STUBS, "workflow.number=0,1,2", "sweep=there", code=2).stderr.splitlines()
    assert "there" in line
    assert not (stub / "there" / "2").exists()
    veles_run(*STUBS, "workflow.number=0,1,2", "sweep=there")
    assert job(stub / "there", 2)["status"] == "finished"


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_jobs_find_their_own_snapshots_among_those_of_others(
    kind: str, veles_run: Run, servers: Servers, tmp_path: Path
) -> None:
    """Two sweeps of the same jobs, but with other seeds, write to one place; each job goes on with its own run."""
    connection = servers.database("sqlite", tmp_path).odbc if kind == "sqlite" else ""
    place = f"snapshotter.odbc={connection}" if connection else "snapshotter.directory=shared"
    sweep = ("-m", *SMALL, place, "layers.fc1.learning_rate=0.1,0.2")
    for name in ("one", "two"):
        veles_run(*sweep, "decision.max_epochs=1", f"hydra.sweep.dir={name}")
    folders = [tmp_path / name / str(number) for name in ("one", "two") for number in range(2)]
    before = [json.loads((folder / "result.json").read_text()) for folder in folders]
    for name in ("one", "two"):
        veles_run(*sweep, "decision.max_epochs=2", f"sweep={name}")
    after = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert [result["seed"] for result in after] == [result["seed"] for result in before]
    assert len({result["seed"] for result in after}) == 2
    for was, now in zip(before, after, strict=True):
        headers = [
            restore(result["last_snapshot"] if connection else tmp_path / result["last_snapshot"]).header
            for result in (was, now)
        ]
        assert [header.epoch for header in headers] == [1, 2]
        assert len({header.log_id for header in headers}) == 1
    assert list(pandas.read_csv(tmp_path / "two" / "sweep.csv")["epochs"]) == [2, 2]


@pytest.mark.parametrize("name", ["${hydra.job.override_dirname}", "job ${hydra.job.num}"])
def test_folders_may_have_names_of_the_users_own(name: str, veles_run: Run, stub: Path) -> None:
    named = (*STUBS, f"hydra.sweep.subdir={name}", "hydra.sweeper.max_batch_size=1")
    veles_run(*named, "workflow.number=0,1", "hydra.sweep.dir=there")
    output = veles_run(*named, "workflow.number=3,2,0,1", "sweep=there").stdout
    assert "2 of 4 jobs are done" in output
    assert sorted(pandas.read_csv(stub / "there" / "sweep.csv")["objective"]) == [0, 1, 2, 3]


def test_what_a_sweep_is_known_by_may_be_damaged(veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, "workflow.number=0,1", "hydra.sweep.dir=there")
    (stub / "there" / ".sweep").write_text("{")
    (line,) = veles_run(*STUBS, "workflow.number=0,1,2", "sweep=there", code=2).stderr.splitlines()
    assert ".sweep" in line


@pytest.mark.parametrize("name", ["größe", "a=b", "it's", "a, (b)", "2026"])
def test_the_folder_of_a_sweep_may_have_any_name(name: str, stub: Path, veles_run: Run) -> None:
    words = (*STUBS, "workflow.number=0,1")
    (stub / "broken").touch()
    veles_run(*words, as_override("hydra.sweep.dir", name), code=1)
    (stub / "broken").unlink()
    veles_run(*words, as_override("hydra.sweep.dir", name), "sweep=auto", "sweep.retry=failed")
    assert [job(stub / name, number)["status"] for number in range(2)] == ["finished", "finished"]
    again = veles_run(*STUBS, "workflow.number=0,1,2", as_override("sweep", name)).stdout
    assert "2 of 3 jobs are done" in again
    assert job(stub / name, 2)["status"] == "finished"
