"""trackio: a database on this machine, which `trackio show` draws."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.loggers.logger import Run
from runner.loggers.points import Point
from runner.loggers.tracker import Tracker, by_step
from runner.text import as_name

# trackio's own run delivers in threads of its own, prints, and keeps errors to itself: what it has would not be known.
OF_A_ROW = frozenset({"step", "timestamp"})


class Trackio(Tracker):
    """Logs into a project of trackio.

    Args:
        project: of the run.
        folder: of trackio's data, as its `TRACKIO_DIR`. Default: trackio's own.
    """

    def __init__(self, project: str, folder: str | None) -> None:
        super().__init__()
        self.project = project
        if folder is not None:  # before trackio is imported, which reads it once
            os.environ["TRACKIO_DIR"] = str(Path(folder).absolute())

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        from trackio.sqlite_storage import SQLiteStorage

        self._store = SQLiteStorage
        self._store.validate_project_name(self.project)
        self._store.init_db(self.project)
        self._id, self._name = run.id, f"{as_name(run.name)}-{run.id[:12]}"
        known = {"log_id": run.log_id, "overrides": list(run.overrides), "seed": run.seed, "versions": dict(run.versions)}
        self._config = {**run.parameters, **known}
        rows = self._store.get_logs(self.project, run=self._name, run_id=self._id)
        return {(name, row["step"]) for row in rows for name in row.keys() - OF_A_ROW}

    def write(self, new: Sequence[Point]) -> None:
        steps = by_step(new)
        # A row that is there already has this id, and is left as it is.
        ids = [f"{self._id} {step} {next(iter(values))}" for step, values in steps.items()]
        self._store.bulk_log(
            self.project,
            self._name,
            list(steps.values()),
            list(steps),
            config=self._config,
            log_ids=ids,
            run_id=self._id,
        )

    def close(self, result: Mapping[str, Any]) -> None:
        pass
