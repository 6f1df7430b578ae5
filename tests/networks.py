"""Small networks on a small data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runner.nn import StandardWorkflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.samples import TEST, TRAIN, VALIDATION, Samples

SIZES = {TEST: 0, VALIDATION: 21, TRAIN: 50}
FEATURES = (2, 3)
LAYERS: dict[str, dict[str, Any]] = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8, "learning_rate": 0.1, "gradient_momentum": 0.5},
    "drop": {"type": "dropout", "dropout_ratio": 0.25},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
}


class BlobsLoader(FullBatchLoader):
    """Three clouds of points."""

    seed_of_data = 1
    sizes = SIZES

    def load_data(self) -> dict[int, Samples]:
        numbers = np.random.default_rng(self.seed_of_data)
        return {key: self._clouds(numbers, size) for key, size in self.sizes.items()}

    @staticmethod
    def _clouds(numbers: np.random.Generator, size: int) -> Samples:
        labels = np.arange(size) % 3
        return Samples(numbers.normal(size=(size, *FEATURES)) + labels[:, None, None], labels)


class TestedBlobsLoader(BlobsLoader):
    """The same with a test set."""

    __test__ = False
    sizes = SIZES | {TEST: 13}


LOADERS["blobs"] = BlobsLoader
LOADERS["tested_blobs"] = TestedBlobsLoader


def network(folder: Path | None = None, *, name: str = "blobs", seed: int = 3, **settings: Any) -> StandardWorkflow:
    """Builds a network; it takes snapshots if a folder is given."""
    defaults: dict[str, Any] = {
        "loader_name": "blobs",
        "loader_config": {"minibatch_size": 8},
        "layers": LAYERS,
        "decision_config": {"max_epochs": 3},
        "snapshotter_config": None if folder is None else {"directory": str(folder), "compression": "none"},
    }
    return StandardWorkflow(name, seed=seed, **(defaults | settings))


def extended(workflow: Any, epochs: int) -> Any:
    """Runs a workflow that was restored on, until it has so many epochs."""
    workflow.override("decision.max_epochs", epochs)
    workflow.initialize()
    workflow.run()
    return workflow


def trained(folder: Path | None = None, **settings: Any) -> StandardWorkflow:
    """Builds a network and runs it to its end."""
    workflow = network(folder, **settings)
    workflow.initialize()
    workflow.run()
    return workflow


def stopped(folder: Path, at: int, **settings: Any) -> str:
    """Builds a network and runs it until so many of its minibatches are done; returns where the snapshot of then is."""
    workflow = network(folder, **settings)
    workflow.initialize()
    steps = workflow.loader.steps

    def due(_: object) -> bool:
        return workflow.loader.epoch_number * steps + workflow.loader.position == at and not workflow.stop()

    workflow.snapshotter.exporter_.pace.is_due = due
    workflow.run()
    return workflow.snapshotter.last_location
