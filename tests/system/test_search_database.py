"""The study of a search in a database: it is read back by the database's own client, and its password is nowhere else."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.pool import NullPool

from tests.conftest import Run
from tests.servers import PASSWORD, Server, Servers, seen_by_client
from tests.system.test_passwords import traces

STUB = """
import os, signal
from pathlib import Path
from runner import Unit, Workflow

class Valley(Unit):
    def run(self):
        if Path("kill").exists() and Path.cwd().joinpath("there", "2").exists():
            Path("kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)

class Stub(Workflow):
    def __init__(self, x=0.0, n=0):
        super().__init__()
        self.x, self.n = x, n
        self.end_point.link_from(Valley(self).link_from(self.start_point))

    @property
    def objective(self):
        return (self.x - 3) ** 2 + self.n
"""
SEARCH = ("-m", "hydra/sweeper=optuna", "workflow._target_=stub.Stub", "report=false", "hydra.sweeper.seed=5", "seed=1")
VARIED = ("workflow.x=tag(log, interval(0.1,6.0))", "workflow.n=range(0,10,3)", "hydra.sweeper.n_trials=4")
TRIALS = """select t.number, t.state, v.value from studies s join trials t on t.study_id = s.study_id
 left join trial_values v on v.trial_id = t.trial_id where s.study_name = '{}' order by t.number"""


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    (tmp_path / "stub.py").write_text(STUB)
    return tmp_path


def test_a_search_that_is_killed_goes_on_in_its_database(database: Server, veles_run: Run, stub: Path) -> None:
    veles_run(*SEARCH, *VARIED, "hydra.sweep.dir=whole")
    journal = JournalStorage(JournalFileBackend(str(stub / "whole" / "study.journal")))
    wanted = optuna.load_study(study_name="sweep", storage=journal).trials
    place = f"hydra.sweeper.storage={database.url}"
    (stub / "kill").touch()
    killed = veles_run(*SEARCH, *VARIED, place, "hydra.sweep.dir=there", code=None)
    assert killed.returncode == -9
    known = json.loads((stub / "there" / "study.json").read_text())
    rows = seen_by_client(database, TRIALS.format(known["study_name"]))
    assert [row[:2] for row in rows] == [["0", "COMPLETE"], ["1", "COMPLETE"], ["2", "RUNNING"]]
    again = veles_run(*SEARCH, *VARIED[::-1], place, "sweep=there")
    assert "2 of 4 jobs are done" in again.stdout
    rows = seen_by_client(database, TRIALS.format(known["study_name"]))
    assert [(int(row[0]), row[1], float(row[2])) for row in rows] == [
        (trial.number, "COMPLETE", pytest.approx(trial.value, rel=1e-12)) for trial in wanted
    ]
    found = optuna.load_study(study_name=known["study_name"], storage=RDBStorage(database.url, {"poolclass": NullPool})).trials
    assert [trial.params for trial in found] == [trial.params for trial in wanted]
    outputs = [text for done in (killed, again) for text in (done.stdout, done.stderr)]
    assert not traces(stub, *outputs)
    assert not (stub / "there" / "study.journal").exists()


def test_the_password_may_be_in_the_environment_or_in_a_conf_file(
    servers: Servers, veles_run: Run, stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.database("postgresql", stub)
    monkeypatch.setenv("STUDY_PASSWORD", PASSWORD)
    reference = server.url.replace(PASSWORD, "${oc.env:STUDY_PASSWORD}")
    short = (*SEARCH, VARIED[0], "hydra.sweeper.n_trials=1")
    pruned = ("hydra.sweeper.pruner=median", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    first = veles_run(*short, *pruned, f"hydra.sweeper.storage={reference}", "hydra.sweep.dir=first")
    assert json.loads((stub / "first" / "study.json").read_text())["storage"] == reference
    conf = stub / "conf" / "mine.yaml"
    conf.parent.mkdir()
    conf.write_text(f"hydra: {{sweeper: {{storage: '{server.url}'}}}}\nworkflow: {{_target_: stub.Stub}}\n")
    second = veles_run("conf=mine", *short, *pruned, "hydra.sweep.dir=second")
    conf.unlink()
    states = [row for (row,) in seen_by_client(server, "select state from trials")]
    assert states == ["COMPLETE", "COMPLETE"]
    assert not traces(stub, first.stdout, first.stderr, second.stdout, second.stderr)
