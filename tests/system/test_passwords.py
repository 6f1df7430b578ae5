"""A password that is typed is in nothing that a run leaves behind."""

import base64
import gzip
import os
from pathlib import Path

import pytest

from runner import passwords
from runner.snapshots import codecs
from runner.snapshots.odbc.odbc_store import OdbcStore
from tests.conftest import Run
from tests.servers import PASSWORD, Server, Servers
from tests.system.test_resume import final_snapshot

SMALL = ("loader.train_size=600", "loader.validation_size=200")
BASE = ("conf=mnist_small", *SMALL, "seed=1", "decision.max_epochs=1")
CANARIES = [PASSWORD.encode(), base64.b64encode(PASSWORD.encode())[:-2]]


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Server:
    return servers.database(request.param, tmp_path)


def traces(folder: Path, *texts: str) -> list[str]:
    """Returns where the password is: in names and contents of files, in snapshots, and in what was printed."""
    found = [text for text in texts if PASSWORD in text]
    for path in folder.rglob("*"):
        data = str(path).encode()
        if path.is_file():
            data += path.read_bytes()
            data += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b""
        if any(canary in data for canary in CANARIES):
            found.append(str(path))
    return found


def traces_in_snapshots(server: Server) -> list[str]:
    store = OdbcStore(server.odbc)
    found = []
    for entry in store.list():
        plain = b"".join(codecs.decode(codecs.find(entry.header.codec), store.open(entry.location)))
        if PASSWORD in entry.location + entry.header.to_json() or any(canary in plain for canary in CANARIES):
            found.append(entry.location)
    return found


def test_typed_in_full(server: Server, veles_run: Run, tmp_path: Path) -> None:
    first = veles_run(*BASE, f"snapshotter.odbc={server.odbc}")
    hints = [line for line in first.stderr.splitlines() if "a password on the command line" in line]
    assert len(hints) == 1
    assert "PWD=***" in first.stdout
    where = final_snapshot(first.stdout).replace("PWD=***", f"PWD={PASSWORD}")
    second = veles_run(f"snapshot={where}", "decision.max_epochs=2")
    third = veles_run("conf=mnist_small", f"++snapshotter.odbc='{server.odbc}'", "snapshot=latest", "mode=evaluate")
    assert traces(tmp_path, *[text for done in (first, second, third) for text in (done.stdout, done.stderr)]) == []
    assert traces_in_snapshots(server) == []
    assert "PWD=***" in next(tmp_path.glob("outputs/*/*/*/.hydra/overrides.yaml")).read_text()
    saved = veles_run(*BASE, f"snapshotter.odbc={server.odbc}", "--cfg", "all")
    assert "PWD=***" in saved.stdout
    assert traces(tmp_path, saved.stdout, saved.stderr) == []


def test_in_the_environment_and_in_a_conf_file(server: Server, veles_run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VELES_ODBC", server.odbc)
    monkeypatch.setenv("VELES_PW", PASSWORD)
    whole = veles_run(*BASE, "snapshotter.odbc=${oc.env:VELES_ODBC}")
    assert "${oc.env:VELES_ODBC}" in whole.stdout
    assert "a password on the command line" not in whole.stderr
    part = veles_run(*BASE, f"snapshotter.odbc={server.odbc.replace(PASSWORD, '${oc.env:VELES_PW}')}")
    resumed = veles_run(f"snapshot={final_snapshot(whole.stdout)}", "decision.max_epochs=2")
    assert traces(tmp_path, *[text for done in (whole, part, resumed) for text in (done.stdout, done.stderr)]) == []
    (tmp_path / "conf").mkdir()
    package = Path(passwords.__file__).parent.parent / "conf" / "mnist_small.yaml"
    (tmp_path / "conf" / "mine.yaml").write_text(f"{package.read_text()}\nsnapshotter:\n  odbc: {server.odbc}\n")
    outputs = []
    for arguments in (["conf=mine"], ["-m", "conf=mine", "loader.minibatch_size=60,100"]):
        done = veles_run(*arguments, *SMALL, "seed=1", "decision.max_epochs=1")
        outputs += [done.stdout, done.stderr]
    (tmp_path / "conf" / "mine.yaml").unlink()
    assert traces(tmp_path, *outputs) == []
    assert traces_in_snapshots(server) == []
    assert len(list(OdbcStore(server.odbc).list())) == 6


def test_in_a_sweep_with_folders_named_after_overrides(server: Server, veles_run: Run, tmp_path: Path) -> None:
    done = veles_run(
        "-m",
        *BASE,
        f"snapshotter.odbc={server.odbc}",
        "snapshotter.compression=gz,none",
        "hydra.sweep.subdir=${hydra.job.num}_${hydra.job.override_dirname}",
    )
    assert len(list(OdbcStore(server.odbc).list())) == 2
    assert traces(tmp_path, done.stdout, done.stderr) == []
    assert traces_in_snapshots(server) == []
    assert any("PWD=***" in str(path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("sweep", [True, False])
def test_in_folders_named_after_overrides_that_refer_to_it(
    sweep: bool, server: Server, veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_ODBC", server.odbc)
    name = "${hydra.job.override_dirname}"
    folders = ["-m", "seed=1,2", f"hydra.sweep.subdir={name}"] if sweep else [f"hydra.run.dir=runs/{name}"]
    done = veles_run(*BASE, "snapshotter.odbc=${oc.env:OWN_ODBC}", *folders)
    assert len(list(OdbcStore(server.odbc).list())) == 1 + sweep
    assert traces(tmp_path, done.stdout, done.stderr) == []
    assert any("{oc.env:OWN_ODBC}" in str(path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("full_error", ["0", "1"])
def test_when_things_go_wrong(full_error: str, veles_run: Run, tmp_path: Path, servers: Servers, monkeypatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
    odbc = servers.running("mariadb").odbc.replace("DATABASE=veles", "DATABASE=nothing")
    lines = [
        [*BASE, f"snapshotter.odbc={odbc}"],
        [*BASE, f"snapshoter.odbc={odbc}"],
        [*BASE, f"snapshotter.odbc={odbc}", "snapshotter.interval=x"],
        [*BASE, f"snapshot=odbc://{odbc}&veles", f"--snapshot=odbc://{odbc}&veles&abc&"],
        [f"snapshot=odbc://{odbc}&veles&abc&"],
        [*BASE, f"snapshotter.odbc={odbc}", "snapshot=missing.pickle"],
    ]
    for arguments in lines if full_error == "0" else lines[:4]:
        done = veles_run(*arguments, code=None)
        assert done.returncode in (1, 2)
        assert traces(tmp_path, done.stdout, done.stderr) == []


def test_in_file_mode(veles_run: Run, tmp_path: Path) -> None:
    odbc = f"DRIVER={{SQLite3}};Database=x;PWD={PASSWORD}"
    done = veles_run(*BASE, f"snapshotter.odbc={odbc}", "snapshotter.odbc=null")
    where = final_snapshot(done.stdout)
    assert Path(tmp_path, where).is_file()
    again = veles_run(f"snapshot={where}", "decision.max_epochs=2")
    assert traces(tmp_path, done.stdout, done.stderr, again.stdout, again.stderr) == []


def sqlite(tmp_path: Path) -> str:
    """Returns a connection string with a password; SQLite needs none, but nothing is opened without it."""
    return f"DRIVER={{SQLite3}};Database={tmp_path}/snapshots.db;PWD={PASSWORD}"


def test_programs_that_a_run_starts_have_no_password(veles_run: Run, tmp_path: Path, odbc_folder: Path, monkeypatch) -> None:
    tool = tmp_path / "bin" / "dot"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    done = veles_run(*BASE, f"snapshotter.odbc='{sqlite(tmp_path)}'", "graph=graph.svg")
    assert "PATH=" in (tmp_path / "seen").read_text()
    assert traces(tmp_path, done.stdout, done.stderr) == []


LAUNCHER = """
import os, pickle, subprocess, sys
import cloudpickle
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict

class ProcessLauncher(Launcher):
    "Runs each job in a process of its own, as the launchers of joblib and submitit do."

    def setup(self, *, hydra_context, task_function, config):
        self.given = hydra_context, task_function, config

    def launch(self, job_overrides, initial_job_idx):
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            job = cloudpickle.dumps((*self.given, number, list(overrides), Singleton.get_state()))
            command = [sys.executable, "-c", "import sys, pickle; from hydra_plugins.processes import run; run()"]
            subprocess.run(command, input=job, check=True)
        return [JobReturn(_return_value=0.0, status=JobStatus.COMPLETED) for _ in job_overrides]

def run():
    context, function, config, number, overrides, state = pickle.load(sys.stdin.buffer)
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    run_job(hydra_context=context, task_function=function, config=job,
            job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir").return_value
    print("left behind:", "VELES_RUN_SECRETS" in os.environ)

ConfigStore.instance().store(
    group="hydra/launcher", name="processes", node={"_target_": "hydra_plugins.processes.ProcessLauncher"}, provider="test")
"""


def test_the_jobs_of_a_sweep_have_the_password_in_other_processes(
    veles_run: Run, tmp_path: Path, odbc_folder: Path, monkeypatch
) -> None:
    plugins = tmp_path / "hydra_plugins"
    plugins.mkdir()
    (plugins / "processes.py").write_text(LAUNCHER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:{Path(passwords.__file__).parents[1]}")
    odbc = sqlite(tmp_path)
    done = veles_run("-m", *BASE, "loader.minibatch_size=60,100", f"snapshotter.odbc='{odbc}'", "hydra/launcher=processes")
    assert done.stdout.count("left behind: False") == 2
    assert len(list(OdbcStore(odbc).list())) == 2
    assert traces(tmp_path, done.stdout, done.stderr) == []


def test_every_secret_of_a_connection_string_is_masked(veles_run: Run, tmp_path: Path, odbc_folder: Path) -> None:
    odbc = f"{sqlite(tmp_path)}-1;pqopt={{sslpassword={PASSWORD}-2}};Proxy Password = {PASSWORD}-3 ;Token={{{PASSWORD}}}}}4}}"
    done = veles_run(*BASE, f"snapshotter.odbc={odbc}")
    assert len(list(OdbcStore(odbc).list())) == 1
    again = veles_run(f"snapshot=odbc://{odbc}&veles&abc&", code=2)
    assert traces(tmp_path, done.stdout, done.stderr, again.stdout, again.stderr) == []


def test_a_password_in_the_place_of_the_snapshot_in_a_conf_file(veles_run: Run, tmp_path: Path, odbc_folder: Path) -> None:
    """Also where the run fails before it begins."""
    (tmp_path / "conf").mkdir()
    package = Path(passwords.__file__).parent.parent / "conf" / "mnist_small.yaml"
    conf = tmp_path / "conf" / "mine.yaml"
    conf.write_text(f"{package.read_text()}\nsnapshot: odbc://{sqlite(tmp_path)}&veles&abc&\n")
    done = veles_run("conf=mine", code=2)
    conf.unlink()
    assert traces(tmp_path, done.stdout, done.stderr) == []


def test_keys_of_a_workflow_keep_their_values(veles_run: Run, tmp_path: Path) -> None:
    """They are no connection strings, whatever they are called: a number stays one."""
    (tmp_path / "flow.py").write_text(
        "from runner.graph import Workflow\n"
        "class Flow(Workflow):\n"
        "    def __init__(self, token, sort_key, **given):\n"
        "        super().__init__(**given)\n"
        "        assert token == 3 or token.startswith('canary')\n"
        "        assert sort_key == 'a'\n"
        "        self.end_point.link_from(self.start_point)\n"
    )
    veles_run("workflow._target_=flow.Flow", "workflow.token=3", "workflow.sort_key=a")
    sweep = veles_run("-m", "workflow._target_=flow.Flow", f"workflow.token={PASSWORD}", "workflow.sort_key=a")
    assert "workflow.token=***" in sweep.stdout
    assert PASSWORD not in sweep.stdout + sweep.stderr
