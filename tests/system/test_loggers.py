"""Trackers get each step of a run once, read back with their own readers."""

import re
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runner.metrics import read_metrics, read_result
from tests.conftest import Run

ROOT = Path(__file__).parents[2]
BASE = ("mnist_small", "loader.train_size=600", "loader.validation_size=200", "seed=7", "plotters=false", "report=false")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the curves of the one run in a folder of TensorBoard."""
    (run,) = folder.iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_run_that_goes_on_is_one_run_in_tensorboard(veles_run: Run, tmp_path: Path) -> None:
    keys = (*BASE, "metrics.every=4", "logger=tensorboard")
    veles_run(*keys, "decision.max_epochs=4", "loggers.tensorboard.folder=whole", "hydra.run.dir=whole_run")
    first = veles_run(*keys, "decision.max_epochs=2")
    # The tracker loses what it got, so that the snapshot has to give it again; a torn file stays.
    (events,) = (tmp_path / "outputs" / "tensorboard").glob("*/events*")
    events.write_bytes(events.read_bytes()[:-700])
    assert re.search(r"Extend: .*logger=tensorboard", first.stdout)
    veles_run(*BASE, "snapshot=latest", "decision.max_epochs=4", "logger=tensorboard")
    whole = curves(tmp_path / "whole")
    assert {name: sorted(points) for name, points in curves(tmp_path / "outputs" / "tensorboard").items()} == whole
    epochs = [row for row in read_metrics(tmp_path / "whole_run") if row["kind"] == "epoch" and row["split"] == "validation"]
    assert [step for step, _ in whole["loss/validation"]] == [row["minibatch"] for row in epochs]
    assert len(whole["loss/minibatches"]) == 10


def test_a_changed_run_is_another_one_and_a_snapshot_names_no_logger(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "decision.max_epochs=1", "logger=tensorboard")
    (snapshot,) = tmp_path.glob("outputs/mnist_small/*/*/*_validation_*")
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=2", "layers.out.learning_rate=0.01", "logger=tensorboard")
    assert len(list((tmp_path / "outputs" / "tensorboard").iterdir())) == 2
    before = sorted(tmp_path.glob("outputs/tensorboard/*/*"))
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=3")
    assert sorted(tmp_path.glob("outputs/tensorboard/*/*")) == before


def test_the_logger_on_the_page(veles_run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "loggers.md").read_text()
    (code,) = re.findall(r"<!-- example: begin -->\n```python\n# lines.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "lines.py").write_text(code)
    veles_run(*BASE, "decision.max_epochs=1", "logger=[lines.Lines,tensorboard]", "hydra.run.dir=out")
    lines = (tmp_path / "out" / "lines.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["mnist_small:", "0"],
        ["1", "train"],
        ["1", "validation"],
        ["finished", "1"],
    ]


def test_a_logger_that_fails_costs_a_warning(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import time\nfrom runner.loggers.logger import Logger\nfrom runner.loggers.tracker import Tracker\n"
        "class Raises(Logger):\n    def log(self, row): raise ZeroDivisionError('PWD=hunter2secret')\n"
        "class Hangs(Tracker):\n    def open(self, run): time.sleep(600)\n"
    )
    began = time.monotonic()
    output = veles_run(
        *BASE,
        "decision.on_nan=stop",
        "layers.out.learning_rate=1e38",
        "layers.fc1.learning_rate=1e38",
        "logger=[broken.Raises,broken.Hangs]",
        "hydra.run.dir=out",
        code=1,
    )
    assert time.monotonic() - began < 60
    text = output.stdout + output.stderr
    assert text.count("Raises has failed (ZeroDivisionError: PWD=***)") == 1
    assert text.count("Hangs has not got all") == 1
    assert read_result(tmp_path / "out")["status"] == "failed"
