"""States to take snapshots of, and folders to put them in."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from runner.graph import Repeater, Unit, Workflow
from runner.snapshots.codecs import CODECS, Codec
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store

SLOW = ("bz2", "xz")


class Weights(Unit):
    """Ten tensors of weights."""

    def __init__(self, workflow: Workflow, megabytes: int) -> None:
        super().__init__(workflow, "weights")
        torch.manual_seed(1)
        self.weights = [torch.empty(megabytes * 1_000_000 // 40).normal_(0, 0.05) for _ in range(10)]


def make_workflow(megabytes: int, folder: Path, store: Store | None = None, **settings: object) -> tuple[Workflow, Snapshotter]:
    workflow = Workflow(name="benchmark")
    repeater = Repeater(workflow).link_from(workflow.start_point)
    weights = Weights(workflow, megabytes).link_from(repeater)
    snapshotter = Snapshotter(workflow, store=store or FileStore(folder), **settings)
    snapshotter.link_from(weights)
    workflow.end_point.link_from(snapshotter)
    repeater.link_from(snapshotter)
    workflow.initialize()
    return workflow, snapshotter


def codecs_for(megabytes: int) -> list[Codec]:
    """The codecs, without those that would take minutes on a large state."""
    return [codec for codec in CODECS.values() if codec.name not in SLOW or megabytes <= 105]


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".benchmark-", dir="."))
    try:
        yield path
    finally:
        shutil.rmtree(path)
        gc.collect()  # workflows and their staging memory, which are cycles
