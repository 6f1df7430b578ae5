"""Reads runs back from trackers, with the trackers' own readers."""

import json
from pathlib import Path
from typing import Any

from runner.loggers.wandb import pieces
from runner.metrics import Rows

Curves = dict[str, list[tuple[int, float]]]


def in_tensorboard(folder: Path, run_id: str = "") -> Curves:
    """Returns the curves of the one run in a folder of TensorBoard, or of that with the id."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = folder.glob(f"*-{run_id[:12] or '*'}")
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    assert events.Tags()["tensors"] == ["parameters/text_summary"]
    return {name: sorted((event.step, event.value) for event in events.Scalars(name)) for name in events.Tags()["scalars"]}


def in_mlflow(database: Path, run_id: str = "") -> tuple[Curves, Any]:
    """Returns the curves of the one run in a database of MLflow, and the run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    (run,) = client.search_runs(["1"], f"tags.`veles_run.id` LIKE '{run_id}%'")
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: sorted((metric.step, metric.value) for metric in history) for name, history in histories.items()}, run


def in_trackio(project: str, run_id: str = "") -> tuple[Curves, dict[str, Any]]:
    """Returns the curves of the one run in a project of trackio, in the folder of `TRACKIO_DIR`, and its configuration."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = (run for run in trackio.Api().runs(project) if run.id.startswith(run_id))
    rows = SQLiteStorage.get_logs(project, run.name, run_id=run.id)
    names = {name for row in rows for name in row if "/" in name}
    return {name: sorted((row["step"], row[name]) for row in rows if name in row) for name in names}, run.config or {}


def in_wandb(folder: Path, run_id: str = "*") -> Curves:
    """Returns the curves in all files of the one run in a folder of W&B, whose own steps rise from file to file."""
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(folder.glob(f"offline-run-*-{run_id}/*.wandb"))
    assert len({path.name for path in files}) == 1
    records = [Record.FromString(data) for path in files for data in pieces(path.read_bytes())]
    histories = [record.history for record in records if record.HasField("history")]
    rows = [{"/".join(item.nested_key): json.loads(item.value_json) for item in history.item} for history in histories]
    assert [row["_step"] for row in rows] == [*range(len(rows))]
    names = {name for row in rows for name in row if "/" in name}
    return {name: sorted((row["minibatch"], row[name]) for row in rows if name in row) for name in names}


def in_rows(rows: Rows) -> Curves:
    """Returns the curves that rows are, as a tracker should have them."""
    found: Curves = {}
    for row in rows:
        names = ("loss", "error", *(("learning_rate", "gradient_norm") if row["split"] == "train" else ()))
        for name in (name for name in names if name in row):
            split = row["split"] if row["kind"] == "epoch" else "minibatches"
            found.setdefault(f"{name}/{split}", []).append((row["minibatch"], row[name]))
    return found
