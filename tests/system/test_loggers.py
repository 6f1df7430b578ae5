"""Trackers get each step of a run once, read back with their own readers."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.metrics import read_metrics, read_result
from runner.snapshots.restoring.restore import restore
from tests.conftest import Run
from tests.trackers import Curves, in_mlflow, in_rows, in_tensorboard, in_wandb

ROOT = Path(__file__).parents[2]
BASE = ("mnist_small", "loader.train_size=600", "loader.validation_size=200", "seed=7", "plotters=false", "report=false")


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own queries
def test_a_run_that_goes_on_is_one_run_in_each_tracker(veles_run: Run, tmp_path: Path) -> None:
    trackers = (
        *("logger=[tensorboard,mlflow,trackio,wandb]", "loggers.trackio.folder=tio", "loggers.wandb.mode=offline"),
        "loggers.mlflow.artifacts=true",
    )
    first = veles_run(*BASE, "metrics.every=4", *trackers, "decision.max_epochs=2", "hydra.run.dir=first")
    assert re.search(r"Extend: .*logger=", first.stdout)
    # One loses what it got, so that the snapshot has to give it again; a torn file stays. The others have what is replayed.
    (events,) = (tmp_path / "outputs" / "tensorboard").glob("*/events*")
    events.write_bytes(events.read_bytes()[:-700])
    snapshot = min((tmp_path / "first").glob("*.pickle*"), key=lambda path: restore(path).header.epoch)
    assert restore(snapshot).header.epoch == 1
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=3", *trackers, "hydra.run.dir=second", "metrics.every=4")
    wanted = in_rows(read_metrics(tmp_path / "second"))
    assert len(wanted["loss/minibatches"]) == 7
    rounded = {name: [(step, pytest.approx(value, rel=1e-6)) for step, value in points] for name, points in wanted.items()}
    assert in_tensorboard(tmp_path / "outputs" / "tensorboard") == rounded
    assert in_wandb(tmp_path / "outputs" / "wandb") == wanted
    check_mlflow(tmp_path / "outputs" / "mlflow.db", wanted)
    check_trackio(tmp_path / "tio", wanted)


def check_mlflow(database: Path, wanted: Curves) -> None:
    curves, run = in_mlflow(database)
    assert curves == wanted
    assert run.info.status == "FINISHED"
    assert (run.data.params["seed"], run.data.params["loader.train_size"]) == ("7", "600")
    assert "metrics.every=4" in run.data.params["overrides"]
    assert {"log_id", "version.torch"} <= run.data.tags.keys()
    snapshots = Path(run.info.artifact_uri, "snapshots").iterdir()
    assert {restore(path).header.epoch for path in snapshots} == {2, 3}


def check_trackio(folder: Path, wanted: Curves) -> None:
    """Trackio is told its folder by the environment, when it is imported."""
    program = "import json; from tests.trackers import in_trackio; print(json.dumps(in_trackio('veles-run')))"
    known = os.environ | {"TRACKIO_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=known, capture_output=True, text=True, check=True)
    curves, config = json.loads(done.stdout)
    assert {name: [tuple(point) for point in points] for name, points in curves.items()} == wanted
    assert (config["seed"], config["loader.train_size"], config["versions"].keys() >= {"torch"}) == (7, 600, True)


def test_a_snapshot_names_no_logger(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "decision.max_epochs=1", "logger=tensorboard")
    (snapshot,) = tmp_path.glob("outputs/mnist_small/*/*/*_validation_*")
    before = sorted(tmp_path.glob("outputs/tensorboard/*/*"))
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=2")
    assert len(before) == 1
    assert sorted(tmp_path.glob("outputs/tensorboard/*/*")) == before


def test_the_logger_on_the_page(veles_run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "loggers.md").read_text()
    (code,) = re.findall(r"`lines.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
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
