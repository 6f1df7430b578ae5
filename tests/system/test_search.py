"""A search by Optuna: its trials are jobs, and its study is read back by Optuna itself."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import optuna
import pandas
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.conftest import VELES_RUN, Run

SEARCH = ("-m", "hydra/sweeper=optuna", "report=false", "hydra.sweep.dir=there", "hydra.sweeper.seed=5")
SMALL = ("conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "plotters=false", "seed=1")
STUB = """
from runner import Unit, Workflow

class Valley(Unit):
    def run(self):
        if self.workflow.x > 8:
            raise ValueError("x is too large")

class Stub(Workflow):
    def __init__(self, x=0.0, n=0, kind="a"):
        super().__init__()
        self.x, self.n, self.kind = x, n, kind
        self.end_point.link_from(Valley(self).link_from(self.start_point))

    @property
    def objective(self):
        return (self.x - 3) ** 2 + self.n + (self.kind == "b")
"""
STUBS = ("workflow._target_=stub.Stub", *SEARCH)
X, N, KIND = "workflow.x=interval(0,6.0)", "workflow.n=range(0,10,3)", "workflow.kind=choice(a,b)"


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    (tmp_path / "stub.py").write_text(STUB)
    return tmp_path


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_what_is_found_is_in_the_study_and_in_the_table(sampler: str, veles_run: Run, stub: Path) -> None:
    chosen = (f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.n_trials=8")
    veles_run(*STUBS, X, N, KIND, *chosen)
    trials = study(stub / "there").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    for trial in trials:
        x, n, kind = (trial.params[f"++workflow.{name}"] for name in ("x", "n", "kind"))
        assert 0 <= x <= 6
        assert n in (0, 3, 6, 9)
        assert trial.value == pytest.approx((x - 3) ** 2 + n + (kind == "b"))
    table = pandas.read_csv(stub / "there" / "sweep.csv").set_index("job")
    assert list(table.sort_index()["objective"]) == [trial.value for trial in trials]
    # The same when it is cut in two, with the same numbers.
    veles_run(*STUBS, X, N, KIND, *chosen[:1], "hydra.sweeper.n_trials=4", "hydra.sweep.dir=again")
    veles_run(*(text for text in STUBS if "dir=" not in text), KIND, N, X, *chosen, "sweep=again")
    assert [trial.params for trial in study(stub / "again").trials] == [trial.params for trial in trials]


def test_a_grid_has_all_combinations(veles_run: Run, stub: Path) -> None:
    output = veles_run(*STUBS, "workflow.x=1,2.5", N, "hydra.sweeper.sampler=grid").stdout
    found = [tuple(trial.params.values()) for trial in study(stub / "there").trials]
    assert found == [(n, x) for n in (0, 3, 6, 9) for x in ("1", "2.5")]
    assert "Best: job 1 (workflow.x=2.5 workflow.n=0)" in output


def test_trials_that_fail_are_told_and_do_not_end_the_search(veles_run: Run, stub: Path) -> None:
    done = veles_run(*STUBS, "workflow.x=9,1,2", "hydra.sweeper.sampler=grid", code=1)
    assert "x is too large" in done.stderr
    states = [trial.state for trial in study(stub / "there").trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    again = (*(text for text in STUBS if "dir=" not in text), "sweep=there", "hydra.sweeper.sampler=grid")
    (line,) = veles_run(*again, "workflow.x=9,1,2", code=1).stderr.splitlines()
    assert "job 0" in line
    assert "x is too large" in line


def test_several_objectives_have_a_front(veles_run: Run, stub: Path) -> None:
    both = ("hydra.sweeper.objectives=[objective,exit_code]", "hydra.sweep.dir=both")
    output = veles_run(*STUBS, "workflow.x=1,2", *both, "hydra.sweeper.sampler=grid").stdout
    assert "Pareto front: jobs 1" in output.splitlines()
    assert [trial.values for trial in study(stub / "both").trials] == [[4, 0], [1, 0]]


def test_what_is_to_be_high_is_ranked_so(veles_run: Run, stub: Path) -> None:
    high = ("hydra.sweeper.direction=maximize", "hydra.sweeper.sampler=grid")
    output = veles_run(*STUBS, "workflow.x=2,0,1", N, *high).stdout  # (x - 3)^2 + n
    assert "Best: job 10 (workflow.x=0 workflow.n=9)" in output
    table = pandas.read_csv(stub / "there" / "sweep.csv")
    assert list(table["objective"]) == sorted(table["objective"], reverse=True)
    told = json.loads((stub / "there" / "sweep.json").read_text())
    assert (told["best"], told["goal"]) == ("10", {"name": "objective", "direction": "maximize"})


def test_the_table_has_what_is_searched_for(veles_run: Run, stub: Path) -> None:
    by_name = ("hydra.sweeper.objectives=[best_epoch,objective]", "hydra.sweeper.direction=[maximize,minimize]")
    output = veles_run(*SEARCH, *SMALL, "layers.fc1.learning_rate=1e-9,0.05", *by_name, "hydra.sweeper.sampler=grid").stdout
    rows = pandas.read_csv(stub / "there" / "sweep.csv")
    assert list(rows["objective"]) == list(rows["best_epoch"])
    assert list(rows["best_epoch"]) == sorted(rows["best_epoch"], reverse=True)
    assert "best_epoch" in output


def test_one_objective_needs_no_brackets(veles_run: Run, stub: Path) -> None:
    one = ("hydra.sweeper.objectives=objective", "hydra.sweeper.direction=[maximize]", "hydra.sweeper.sampler=grid")
    assert "Best: job 2 (workflow.x=7)" in veles_run(*STUBS, "workflow.x=3,4,7", *one).stdout  # (x - 3)^2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((X, "hydra.sweeper.objectives=best_epoch"), "the objectives objective, and here best_epoch are typed"),
        ((X.partition("=")[0] + "=1,2",), "and now it is 1,2"),
        ((X.partition("=")[0] + "=interval(0,5)",), "and now it is"),
    ],
)
def test_another_search_is_not_taken_into_the_folder(typed: tuple[str, ...], said: str, veles_run: Run, stub: Path) -> None:
    veles_run(*STUBS, X, "hydra.sweeper.n_trials=2")
    before = study(stub / "there").trials
    (line,) = veles_run(*STUBS, *typed, "hydra.sweeper.n_trials=3", "sweep=there", code=2).stderr.splitlines()
    assert said in line
    assert study(stub / "there").trials == before


@pytest.mark.parametrize("name", ["objectiv", "status", "best", "best.train.size"])
def test_what_the_first_job_does_not_have_ends_the_search(name: str, veles_run: Run, stub: Path) -> None:
    named = (f"hydra.sweeper.objectives=[objective,{name}]", "hydra.sweeper.direction=[minimize,maximize]")
    done = veles_run("-q", *STUBS, X, *named, "hydra.sweeper.n_trials=9", code=2)
    assert f"hydra.sweeper.objectives={name}: result.json of job 0 has no such number" in done.stderr
    assert ("did you mean 'objective'?" in done.stderr) == (name == "objectiv")
    assert not (stub / "there" / "1").exists()


def test_what_is_typed_counts_beside_the_params_of_a_sweeper(veles_run: Run, stub: Path) -> None:
    params = ('hydra.sweeper.params={workflow.x: "5,6", workflow.n: "1,2"}', "hydra.sweeper.sampler=grid")
    done = veles_run(*STUBS, "workflow.x=2,3", *params)
    assert "veles-run: hydra.sweeper.params has workflow.x, too: what is typed for it counts" in done.stderr
    assert done.stderr.count("hydra.sweeper.params has") == 1
    assert {trial.params["++workflow.x"] for trial in study(stub / "there").trials} == {"2", "3"}
    assert len(study(stub / "there").trials) == 4
    again = tuple(text for text in STUBS if "dir=" not in text)
    fewer = veles_run(*again, "sweep=there", "workflow.x=2,3", *params, "hydra.sweeper.n_trials=2").stdout
    assert "4 of 4 jobs are done" in fewer


def test_of_a_key_that_is_typed_twice_the_last_counts(veles_run: Run, stub: Path) -> None:
    twice = ("workflow.x=interval(0.5,0.6)", "workflow.x=2", "workflow.n=1,2", "workflow.n=3,4")
    veles_run(*STUBS, *twice, "hydra.sweeper.sampler=grid")
    assert [trial.params for trial in study(stub / "there").trials] == [{"++workflow.n": n} for n in "34"]
    assert [json.loads((stub / "there" / job / "result.json").read_text())["objective"] for job in "01"] == [4, 5]


def test_bad_trials_are_pruned_and_keep_their_snapshots(veles_run: Run, tmp_path: Path) -> None:
    pruned = ("hydra.sweeper.pruner=median", "hydra.sweeper.pruner_arguments={n_startup_trials: 2}", "decision.max_epochs=4")
    rates = "layers.fc1.learning_rate=0.05,0.06,1e-9,0.07"
    veles_run(*SEARCH, *SMALL, *pruned, rates, "layers.out.learning_rate=0.05", "hydra.sweeper.sampler=grid")
    trials = study(tmp_path / "there").trials
    assert trials[2].state is TrialState.PRUNED
    last = max(trials[2].intermediate_values)
    assert last < 4
    result = json.loads((tmp_path / "there" / "2" / "result.json").read_text())
    assert (result["status"], result["exit_code"]) == ("pruned", 0)
    # Its snapshot is of the end of that epoch.
    veles_run(f"snapshot={result['last_snapshot']}", "decision.max_epochs=4", "hydra.run.dir=further")
    rows = [json.loads(line) for line in (tmp_path / "further" / "metrics.jsonl").read_text().splitlines()]
    reported = [row["error"] for row in rows if row["split"] == "validation"]
    assert reported[:last] == list(trials[2].intermediate_values.values())
    assert len(reported) == 4


def test_trials_run_side_by_side(stub: Path) -> None:
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=3")
    command = [*VELES_RUN, *STUBS, X, *parallel]
    output = subprocess.run(command, cwd=stub, check=True, timeout=200, stdout=subprocess.PIPE, text=True).stdout
    # One line when a job begins, with what differs, and one when it ends; others run beside it.
    lines = output[: output.index("job  x")].splitlines()
    assert len([line for line in lines if re.fullmatch(r"Job \d: workflow.x=\S+", line)]) == 3
    assert len([line for line in lines if re.fullmatch(r"Job \d: finished, best error \S+, \S+ s", line)]) == 3
    assert len([line for line in lines if "was drawn" in line]) == 1
    assert len(lines) == 7
    assert [trial.state for trial in study(stub / "there").trials] == [TrialState.COMPLETE] * 3
    assert list(pandas.read_csv(stub / "there" / "sweep.csv").sort_values("job")["job"]) == [0, 1, 2]


def test_the_example_of_the_docs(veles_run: Run, tmp_path: Path) -> None:
    (line,) = re.findall(
        "^veles-run (-m hydra/sweeper=optuna .* hydra.sweeper.pruner=median .*)$",
        (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(),
        re.MULTILINE,
    )
    quick = ("loader.train_size=200", "loader.validation_size=100", "decision.max_epochs=1", "hydra.sweep.dir=there")
    veles_run(*(text for text in shlex.split(line) if "n_trials" not in text), "hydra.sweeper.n_trials=2", *quick)
    for trial in study(tmp_path / "there").trials:
        assert trial.state is TrialState.COMPLETE
        rate, shape, kind = (trial.params[f"++layers.fc1.{name}"] for name in ("learning_rate", "output_sample_shape", "type"))
        assert 0.001 <= rate <= 0.5
        assert shape in range(20, 200, 20)
        assert kind in ("all2all_tanh", "all2all_relu")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("workflow.x=1",), "interval"),
        ((X, "hydra.sweeper.sampler=grid"), "workflow.x"),
        ((X, "hydra.sweeper.sampler=best"), "cmaes"),
        ((X, "hydra.sweeper.pruner=worst"), "median"),
        ((X, "hydra.sweeper.sampler_arguments={speed: 3}"), "speed"),
        ((X, "hydra.sweeper.direction=up"), "maximize"),
        ((X, "hydra.sweeper.direction=null"), "hydra.sweeper.direction=null must be minimize or maximize"),
        ((X, "hydra.sweeper.n_trials=2.5"), "hydra.sweeper.n_trials=2.5 must be a whole number"),
        ((X, "hydra.sweeper.objectives=3"), "hydra.sweeper.objectives=3 must be a name"),
        ((X, "hydra.sweeper.sampler_arguments=3"), "must be a mapping"),
        ((X, "hydra.sweeper.objectives=[]"), "hydra.sweeper.objectives=[]"),
        ((X, "hydra.sweeper.objectives=[objective,objective]"), "hydra.sweeper.objectives names objective twice"),
        ((X, "hydra.sweeper.direction=[minimize,maximize]"), "hydra.sweeper.objectives"),
        ((X, "hydra.sweeper.n_trials=0"), "n_trials"),
        ((X, "hydra.sweeper.pruner=median", "hydra.sweeper.objectives=[objective,seconds]"), "pruner"),
        (("workflow.x=tag(exp, interval(1,2))",), "exp"),
        (("workflow.x=tag(log, interval(0,1))",), "workflow.x"),
        (("workflow.x=interval(2,1)",), "workflow.x=interval(2,1): it begins with 2 and ends with 1"),
        (("workflow.x=interval(nan,1)",), "workflow.x=interval(nan,1): an interval begins and ends with a finite number"),
        (("workflow.x=interval(0,inf)",), "workflow.x=interval(0,inf): an interval begins and ends with a finite number"),
        ((X, "sweep.retry=failed"), "sweep.retry"),
        ((X, "hydra.sweep.subdir=job_${hydra.job.num}"), "hydra.sweep.subdir"),
    ],
)
def test_what_is_typed_wrong_is_one_line(typed: tuple[str, ...], said: str, veles_run: Run, stub: Path) -> None:
    done = veles_run(*STUBS, *typed, code=2)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (stub / "there" / "0").exists()
