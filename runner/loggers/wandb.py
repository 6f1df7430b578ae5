"""Weights & Biases, online or offline."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.loggers.logger import Run
from runner.loggers.points import Point
from runner.loggers.tracker import Tracker, by_step, snapshots_in

STEP = "minibatch"
"""What curves are drawn over: W&B's own step only rises, and what was missing comes later."""
BLOCK = 32768
FULL, LAST = 1, 4
"""Kinds of pieces in a file of W&B, which is a log of LevelDB."""


class WandB(Tracker):
    """Logs into a project of Weights & Biases.

    Offline, each process leaves a folder `wandb/offline-run-TIME-ID` with the same id, for `wandb sync --append`.

    Args:
        project: of the run.
        entity: whose project it is. Default: yours.
        mode: `online` or `offline`. Default: the environment's `WANDB_MODE`, else `online`.
        folder: for W&B's own folder `wandb`.
        artifacts: whether the best and the last snapshot go along.
    """

    def __init__(self, project: str, entity: str | None, mode: str | None, folder: str, artifacts: bool) -> None:
        super().__init__(artifacts=artifacts)
        self.project = project
        self.entity = entity
        self.mode = mode or os.environ.get("WANDB_MODE") or "online"
        self.folder = Path(folder)
        self._run: Any = None

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        import wandb

        if self._run is not None:  # something has failed
            self._run.finish(exit_code=1)
        earlier = list(self._offline(run.id)) if self.mode == "offline" else []
        self.folder.mkdir(parents=True, exist_ok=True)
        known = {"log_id": run.log_id, "overrides": list(run.overrides), "seed": run.seed, "versions": dict(run.versions)}
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.id,
            name=run.name,
            resume="allow",
            mode=self.mode,  # type: ignore[arg-type] # the environment's may be any
            dir=str(self.folder),
            config={**run.parameters, **known},
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True),
        )
        self._run.define_metric("*", step_metric=STEP)
        if self.mode != "offline" and self._run.resumed:
            earlier = list(wandb.Api().run(self._run.path).scan_history())
        self._next = 1 + max((row["_step"] for row in earlier), default=-1)
        return {(name, row[STEP]) for row in earlier if STEP in row for name in row if "/" in name}

    def _offline(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yields the rows that earlier processes have left."""
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined] # it is chosen when it is imported

        for path in sorted(self.folder.glob(f"wandb/offline-run-*-{run_id}/*.wandb")):
            for data in pieces(path.read_bytes()):
                record = Record.FromString(data)
                if record.HasField("history"):
                    yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}

    def write(self, new: Sequence[Point]) -> None:
        for step, values in by_step(new).items():
            self._run.log({STEP: step, **values}, step=self._next if self.mode == "offline" else None)
            self._next += 1

    def close(self, result: Mapping[str, Any]) -> None:
        if self.artifacts:
            import wandb

            for path in snapshots_in(result):
                artifact = wandb.Artifact(f"snapshots-{self._run.id}", type="snapshot")
                artifact.add_file(str(path))
                self._run.log_artifact(artifact)
        self._run.finish(exit_code=0 if result["status"] == "finished" else 1)


def pieces(data: bytes) -> Iterator[bytes]:
    """Yields the records of a file of W&B, up to where a process was killed."""
    place, parts = 7, b""  # behind its mark and its version
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        piece = data[place + 7 : place + 7 + size]
        if not FULL <= kind <= LAST or len(piece) < size:
            return
        place += 7 + size
        parts += piece
        if kind in (FULL, LAST):
            yield parts
            parts = b""
