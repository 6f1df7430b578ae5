"""How a run has ended is told whatever else goes wrong, and never in place of what has ended it."""

from pathlib import Path

import pytest

from runner.errors import DivergedError, StoreAwayError
from runner.graph import Unit, Workflow
from runner.launcher import Launcher
from runner.loggers.metrics_file import MetricsFile
from runner.metrics import read_result
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from tests.units import Counter, LoggedWorkflow, loop


class Silent(LoggedWorkflow):
    """Answers no questions."""

    asked: type[BaseException] = ZeroDivisionError

    @property
    def objective(self):
        raise self.asked("PWD=hunter2secret")


class Ends(Unit):
    error: BaseException

    def run(self) -> None:
        raise self.error


class Away(FileStore):
    def list(self, *arguments, **settings):
        raise StoreAwayError("nobody answers")


def workflow(folder: Path, *units: type[Unit]) -> Workflow:
    made = Silent(name="silent")
    counter = Counter(made, "count", turns=2)
    snapshotter = Snapshotter(made, "snapshotter", store=Away(folder), compression="none", blocking=True)
    loop(made, *(unit(made) for unit in units), counter, snapshotter, counter=counter)
    return made


@pytest.mark.parametrize("asked", [ZeroDivisionError, SystemExit])
def test_a_run_ends_well_though_its_result_cannot_be_told(
    asked: type[BaseException], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Silent, "asked", asked)
    made = workflow(tmp_path)
    launcher = Launcher(device="cpu", loggers=[MetricsFile(tmp_path / "run")])
    with launcher.session(made) as run, launcher.logged(made, lambda: 3, seed=5):
        run()
    result = read_result(tmp_path / "run")
    assert (result["exit_code"], result["objective"], result["best_snapshot"], result["seed"]) == (3, None, None, 5)
    assert Path(result["last_snapshot"]).is_file()
    assert sorted(message.split(" (")[0].split()[-1] for message in caplog.messages) == ["best_snapshot", "objective"]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("error", [DivergedError("gone"), KeyError("x"), SystemExit(7)], ids=repr)
def test_the_error_of_a_run_is_the_one_that_is_raised(error: BaseException, tmp_path: Path) -> None:
    made = workflow(tmp_path, Ends)
    made["Ends"].error = error
    with pytest.raises(type(error)) as caught:
        Launcher(device="cpu", loggers=[MetricsFile(tmp_path / "run")]).run(made)
    assert caught.value is error
    assert caught.value.__context__ is None
    result = read_result(tmp_path / "run")
    assert (result["status"], result["exit_code"]) == ("failed", 1)
    assert str(error).strip("'") in result["error"]
