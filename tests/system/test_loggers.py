"""Trackers get each step of a run once, read back with their own readers."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from runner.loggers.wandb import pieces
from runner.metrics import read_metrics, read_result
from runner.snapshots.restoring.restore import restore
from tests.conftest import Run

ROOT = Path(__file__).parents[2]
BASE = ("mnist_small", "loader.train_size=600", "loader.validation_size=200", "seed=7", "plotters=false", "report=false")


Curves = dict[str, list[tuple[int, float]]]


def in_tensorboard(folder: Path) -> Curves:
    """Returns the curves of the one run in a folder of TensorBoard."""
    (run,) = folder.iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    assert events.Tags()["tensors"] == ["parameters/text_summary"]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def in_mlflow(database: Path, status: str = "FINISHED") -> Curves:
    client = MlflowClient(f"sqlite:///{database}")
    (run,) = client.search_runs(["1"])
    assert run.info.status == status
    assert (run.data.params["seed"], run.data.params["loader.train_size"]) == ("7", "600")
    assert "metrics.every=4" in run.data.params["overrides"]
    assert {"log_id", "version.torch"} <= run.data.tags.keys()
    snapshots = client.list_artifacts(run.info.run_id, "snapshots")
    assert {restore(client.download_artifacts(run.info.run_id, item.path)).header.epoch for item in snapshots} == {2, 3}
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: sorted((metric.step, metric.value) for metric in history) for name, history in histories.items()}


def in_trackio(folder: Path) -> Curves:
    """Returns the curves as trackio's own reader has them, which knows its folder by the environment."""
    program = (
        "import json, trackio; from trackio.sqlite_storage import SQLiteStorage; (run,) = trackio.Api().runs('veles-run');"
        "print(json.dumps([SQLiteStorage.get_logs('veles-run', run.name, run_id=run.id), run.config], default=str))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TRACKIO_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    rows, config = json.loads(done.stdout)
    assert (config["seed"], config["loader.train_size"]) == (7, 600)
    names = {name for row in rows for name in row if "/" in name}
    return {name: sorted((row["step"], row[name]) for row in rows if name in row) for name in names}


def in_wandb(folder: Path) -> Curves:
    """Returns the curves in all files of the one run, whose own steps rise from file to file."""
    found: Curves = {}
    files = sorted(folder.glob("offline-run-*/*.wandb"))
    assert len({path.name for path in files}) == 1
    records = [Record.FromString(data) for path in files for data in pieces(path.read_bytes())]
    rows = [
        {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [row["_step"] for row in rows] == [*range(len(rows))]
    for row in rows:
        for name in (name for name in row if "/" in name):
            found.setdefault(name, []).append((row["minibatch"], row[name]))
    return {name: sorted(points) for name, points in found.items()}


def in_rows(folder: Path) -> Curves:
    """Returns the curves that the rows of a run are."""
    found: Curves = {}
    for row in read_metrics(folder):
        names = ("loss", "error", *(("learning_rate",) if row["split"] == "train" else ()))
        for name in names:
            split = row["split"] if row["kind"] == "epoch" else "minibatches"
            found.setdefault(f"{name}/{split}", []).append((row["minibatch"], pytest.approx(row[name], rel=1e-6)))
    return found


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
    wanted = in_rows(tmp_path / "second")
    assert len(wanted["loss/minibatches"]) == 7
    found = in_tensorboard(tmp_path / "outputs" / "tensorboard")
    assert {name: sorted(points) for name, points in found.items()} == wanted
    assert in_mlflow(tmp_path / "outputs" / "mlflow.db") == wanted
    assert in_trackio(tmp_path / "tio") == wanted
    assert in_wandb(tmp_path / "outputs" / "wandb") == wanted


def test_a_snapshot_names_no_logger(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "decision.max_epochs=1", "logger=tensorboard")
    (snapshot,) = tmp_path.glob("outputs/mnist_small/*/*/*_validation_*")
    before = sorted(tmp_path.glob("outputs/tensorboard/*/*"))
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=2")
    assert len(before) == 1
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
