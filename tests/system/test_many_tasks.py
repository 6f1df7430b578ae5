"""Tasks of an array in one folder or table: started, stopped and requeued at the same time, each continues its own run."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of, restore
from tests import forked
from tests.forked import Started
from tests.servers import PASSWORD, Servers
from tests.states import differences, workflow_state
from tests.system.test_resume import final_snapshot

TASKS = {"file": 5, "sqlite": 4, "mariadb": 3, "postgresql": 3}
EPOCHS = 4
LIMIT = 120

MODULE = """
import os, time
from pathlib import Path
from runner import StandardWorkflow, Unit


class Gate(Unit):
    \"\"\"Waits in the third epoch for a signal that stops the run, if there is a file of this name.\"\"\"

    def __init__(self, workflow):
        super().__init__(workflow, "gate")
        self.n = 0
        self.demand("input_")

    def run(self):
        self.n += 1
        self.output_ = self.input_
        if self.n == 25 and Path("closed").exists():
            Path(f"waiting-{os.getpid()}").touch()
            while not self.workflow.launcher.stop_requested:
                time.sleep(0.01)


class Gated(StandardWorkflow):
    def __init__(self, name, *, seed, **settings):
        super().__init__(name, seed=seed, **settings)
        gate, first = Gate(self), self.forwards[0]
        gate.link_attrs(self.loader, ("input_", "minibatch_data_"))
        first.link_attrs(gate, ("input_", "output_"))
        first.unlink_from(self.loader)
        first.link_from(gate.link_from(self.loader))
"""
CONF = """# @package _global_
workflow: {_target_: gated.Gated}
loader: {name: table, data_file: data.csv, label: label, validation_ratio: 0.25, minibatch_size: 10}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 5, learning_rate: 0.1, gradient_momentum: 0.5}
  drop: {type: dropout, dropout_ratio: 0.25}
  out: {type: softmax, learning_rate: 0.1}
decision: {max_epochs: 100}
plotters: false
seed: 5
"""


def user_folder(folder: Path) -> Path:
    """Makes a folder with the workflow, its conf file and its data."""
    rng = random.Random(1)
    rows = [f"{rng.gauss(i % 2, 1)},{rng.gauss(-(i % 2), 1)},{'ant' if i % 2 else 'bee'}" for i in range(80)]
    (folder / "conf").mkdir()
    (folder / "conf" / "gated.yaml").write_text(CONF)
    (folder / "gated.py").write_text(MODULE)
    (folder / "data.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    return folder


def task(number: int) -> list[str]:
    """Returns what is typed for one of the tasks."""
    return [f"layers.fc1.learning_rate={(number + 1) / 100}", "conf=gated"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts a task in the test's folder."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(
            Started([*arguments, "report=false", "plotters=false"], cwd=tmp_path, environment=os.environ)
        )


def wait_for(folder: Path, pattern: str, count: int, tasks: list[Started]) -> None:
    """Waits until there are so many files, as long as all the tasks live."""
    until = time.monotonic() + LIMIT
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < until
        assert all(one.process.is_alive() for one in tasks), [one.end(1) for one in tasks if not one.process.is_alive()]
        time.sleep(0.02)


def state_of(location: str | Path) -> dict[str, bytes]:
    return workflow_state(restore(location, trusted=["gated"]).workflow)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """The final state of each task's run without a stop."""
    folder = user_folder(tmp_path_factory.mktemp("undisturbed"))
    states = []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for number in range(max(TASKS.values())):
            arguments = [*task(number), f"decision.max_epochs={EPOCHS}"]
            done = forked.run(arguments, cwd=folder, environment=os.environ, timeout=LIMIT)
            assert done.returncode == 0, done.stderr
            states.append(state_of(folder / final_snapshot(done.stdout)))
    return states


@pytest.mark.parametrize("place", TASKS)
def test_each_task_continues_its_own_run(
    place: str, tmp_path: Path, request: pytest.FixtureRequest, undisturbed, start, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = user_folder(tmp_path)
    where = "snapshotter.directory=snapshots"
    if place != "file":
        servers: Servers = request.getfixturevalue("servers")
        where = f"snapshotter.odbc={servers.database(place, tmp_path).odbc}"
    (folder / "closed").touch()
    tasks = [start(*task(number), where, "snapshot=auto") for number in range(TASKS[place])]
    wait_for(folder, "waiting-*", TASKS[place], tasks)
    (folder / "closed").unlink()
    for one in tasks:
        one.process.terminate()
    assert [one.end(LIMIT).returncode for one in tasks] == [75] * TASKS[place]
    requeued = ["snapshot=auto", where, "snapshotter.keep_last=2", f"decision.max_epochs={EPOCHS}"]
    tasks = [start(*requeued, *reversed(task(number))) for number in range(TASKS[place])]
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for number, one in enumerate(tasks):
        done = one.end(LIMIT)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^Resuming from \S+ \(3 epochs and", done.stdout, re.MULTILINE), done.stdout
        last = final_snapshot(done.stdout).replace("PWD=***", f"PWD={PASSWORD}")
        assert header_of(last).config["layers"]["fc1"]["learning_rate"] == (number + 1) / 100
        assert differences(undisturbed[number], state_of(last)) == []
