"""MLflow: a server, or a SQLite file."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.loggers.logger import Run
from runner.loggers.points import Point
from runner.loggers.tracker import Tracker, snapshots_in

SQLITE = "sqlite:///"
TAG = "veles_run.id"
ENDS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
PARAMETERS = 100
"""That MLflow takes at once."""
LONGEST = 250, 5000
"""Characters of a name, and of a value."""


class MLflow(Tracker):
    """Logs into an experiment of MLflow; the run has the tag `veles_run.id`.

    Args:
        tracking_uri: of the server, or `sqlite:///FILE`. Default: the environment's `MLFLOW_TRACKING_URI`, else
            `sqlite:///outputs/mlflow.db`.
        experiment: of the run.
        artifacts: whether the best and the last snapshot go along.
    """

    def __init__(self, tracking_uri: str | None, experiment: str, artifacts: bool) -> None:
        super().__init__(artifacts=artifacts)
        self.tracking_uri = tracking_uri
        self.experiment = experiment

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        from mlflow import MlflowClient

        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # it is tried again in any case
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of the tables that it makes
        self._client = MlflowClient(self._uri())
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'", max_results=1)
        there: set[tuple[str, int]] = set()
        known: set[str] = set()
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            known = set(found[0].data.params)
            for name in found[0].data.metrics:
                there.update((name, metric.step) for metric in self._client.get_metric_history(self._id, name))
        else:
            tags = {TAG: run.id, "log_id": run.log_id, **{f"version.{name}": text for name, text in run.versions.items()}}
            self._id = self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        self._describe(run, known)
        return there

    def _uri(self) -> str:
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///outputs/mlflow.db"
        if uri.startswith(SQLITE):
            _make_database(Path(uri.removeprefix(SQLITE)))
        return uri

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        try:
            place = None
            if (uri := self._uri()).startswith(SQLITE):  # whose default is a folder where the command was typed
                place = f"{Path(uri.removeprefix(SQLITE)).absolute()}.artifacts"
            return str(self._client.create_experiment(self.experiment, artifact_location=place))
        except MlflowException:  # another run has just made it
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _describe(self, run: Run, known: Collection[str]) -> None:
        """Logs the parameters that are not there yet: MLflow refuses to change one."""
        from mlflow.entities import Param

        given = {"overrides": " ".join(run.overrides), "seed": run.seed, **run.parameters}
        named = {_name(key): str(value)[: LONGEST[1]] for key, value in given.items()}
        new = [Param(key, value) for key, value in named.items() if key not in known]
        for begin in range(0, len(new), PARAMETERS):
            self._client.log_batch(self._id, params=new[begin : begin + PARAMETERS])

    def write(self, new: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[Metric(point.name, point.value, now, point.step) for point in new])

    def close(self, result: Mapping[str, Any]) -> None:
        for path in snapshots_in(result) if self.artifacts else ():
            if path.name not in {Path(item.path).name for item in self._client.list_artifacts(self._id, "snapshots")}:
                self._client.log_artifact(self._id, str(path), "snapshots")
        self._client.set_terminated(self._id, ENDS[result["status"]])


def _make_database(path: Path) -> None:
    """Makes the database, which appears complete or not at all: MLflow could never open one whose maker was killed."""
    if path.exists():
        return
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        MlflowClient(f"{SQLITE}{folder}/mlflow.db").search_experiments(max_results=1)
        whole = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        shutil.copyfile(f"{folder}/mlflow.db", whole)
    try:
        os.link(whole, path)
    except FileExistsError:  # of another run, which was quicker
        pass
    finally:
        whole.unlink()


def _name(key: str) -> str:
    return re.sub(r"[^\w. :/-]", "_", key, flags=re.ASCII)[: LONGEST[0]]
