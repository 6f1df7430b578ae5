"""Each conf file and each loader, stopped at any minibatch, continues bit for bit; and what the command says of their data."""

import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner import build
from runner.config import Config, from_hydra
from runner.errors import ConfigError
from runner.graph import random_state
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.snapshots.restoring.restore import restore
from tests import data
from tests.conftest import Run
from tests.states import differences, workflow_state

CONF = Path(__file__).parents[2] / "conf"
EPOCHS = 3

CONFS: dict[str, Callable[[Path], list[str]]] = {
    "mnist": lambda folder: ["loader.train_size=300", "loader.validation_size=200"],
    "mnist_small": lambda folder: ["loader.train_size=300", "loader.validation_size=200"],
    "mnist_conv": lambda folder: ["loader.train_size=300", "loader.validation_size=200"],
    "mnist_ae": lambda folder: ["loader.train_size=300", "loader.validation_size=200"],
    "mnist_ae_fc": lambda folder: ["loader.train_size=300", "loader.validation_size=200"],
    "wine": lambda folder: [],
    "digits": lambda folder: ["loader.train_size=300"],
    "cifar": lambda folder: [f"loader.data_dir={data.write_cifar10(folder)}", "loader.minibatch_size=7"],
}
"""For each conf file what cuts it down."""

SOFTMAX = {"out": {"type": "softmax", "output_sample_shape": 10}}
LINEAR = {"out": {"type": "all2all", "output_sample_shape": 1}}
LOADERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "mnist": lambda folder: {"data_dir": str(data.write_idx(folder))},
    "cifar10": lambda folder: {"data_dir": str(data.write_cifar10(folder)), "normalization": "mean_dispersion"},
    "images": lambda folder: {
        "data_dir": str(data.write_images(folder)),
        "validation_ratio": 0.25,
        "grayscale": True,
        "normalization": "pointwise",
    },
    "table": lambda folder: {"data_file": str(data.write_table(folder / "t.csv")), "label": "kind", "validation_ratio": 0.3},
    "dataset": lambda folder: {
        "train": {"_target_": "tests.data.Points", "size": 40},
        "validation": {"_target_": "tests.data.Points", "size": 20},
    },
    "augmented": lambda folder: {
        "name": "dataset",
        "train": {"_target_": "tests.data.Augmented", "size": 40},
        "validation": {"_target_": "tests.data.Augmented", "size": 20},
    },
    "categories": lambda folder: {
        "name": "table",
        "data_file": str(data.write_table(folder / "t.csv")),
        "columns": ["a", "kind"],
        "categories": ["kind"],
        "targets": ["y"],
        "validation_ratio": 0.3,
    },
    "regression": lambda folder: {
        "name": "table",
        "data_file": str(data.write_table(folder / "t.parquet")),
        "columns": ["a", "b"],
        "targets": ["y"],
        "validation_ratio": 0.3,
    },
}
"""For each loader its settings, and what writes its data."""


class Stopping(Launcher):
    """Asks for a stop after so many minibatches, as a signal does."""

    def __init__(self, minibatches: int) -> None:
        super().__init__(device="cpu", threads=1)
        self.left = minibatches

    @property
    def stop_requested(self) -> bool:
        self.left -= 1
        if self.left < 0:
            self.stop_signal = signal.SIGTERM
        return super().stop_requested


def workflow(config: Config, folder: Path) -> StandardWorkflow:
    random_state.seed_all(7)
    return build.build(config, name="tested", seed=7, output_dir=str(folder))


def check(node: dict[str, Any], overrides: list[str], folder: Path, rng: random.Random) -> Path:
    """Compares a run with one that was stopped and restored; returns the snapshot in between."""
    limits = {"decision": {"max_epochs": EPOCHS}, "snapshotter": {"compression": "none"}}
    merged = OmegaConf.merge(OmegaConf.structured(Config), node, limits, OmegaConf.from_dotlist(overrides))
    config = from_hydra(merged)
    whole = workflow(config, folder / "whole")
    Launcher(device="cpu", threads=1).run(whole)
    assert len(whole.decision.history) == EPOCHS
    stopped = workflow(config, folder / "stopped")
    Stopping(rng.randrange(1, EPOCHS * whole.loader.steps - 1)).run(stopped)
    assert not stopped.decision.complete
    location = stopped.snapshotter.last_location
    restored = restore(location, trusted=["tests"]).workflow
    Launcher(device="cpu").run(restored)
    assert restored.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(restored)) == []
    return Path(location)


def test_every_conf_file_is_here() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} >= CONFS.keys()


@pytest.mark.parametrize("name", CONFS)
def test_a_conf_continues_bit_for_bit(name: str, tmp_path: Path, rng: random.Random) -> None:
    check(OmegaConf.load(CONF / f"{name}.yaml"), CONFS[name](tmp_path), tmp_path, rng)


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_continues_bit_for_bit(name: str, tmp_path: Path, rng: random.Random) -> None:
    regression = name in ("categories", "regression")
    loader = {"name": name, "minibatch_size": 7} | LOADERS[name](tmp_path)
    loss = "mse" if regression else "softmax"
    check({"loader": loader, "loss_function": loss, "layers": LINEAR if regression else SOFTMAX}, [], tmp_path, rng)


def test_integers_reach_an_embedding(tmp_path: Path, rng: random.Random) -> None:
    loader = {"name": "dataset", "minibatch_size": 7, "train": {"_target_": "tests.data.Sentences", "size": 30}}
    embedding = {"_target_": "torch.nn.Embedding", "num_embeddings": 1000, "embedding_dim": 4, "learning_rate": 0.1}
    check({"loader": loader | {"validation_ratio": 0.3}, "layers": {"words": embedding} | SOFTMAX}, [], tmp_path, rng)
    linear = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 4, "learning_rate": 0.000001}
    check({"loader": loader | {"validation_ratio": 0.3}, "layers": {"words": linear} | SOFTMAX}, [], tmp_path, rng)


def test_a_snapshot_does_not_decide_which_data_set_is_run(tmp_path: Path, rng: random.Random) -> None:
    loader = {"name": "dataset", "minibatch_size": 7} | LOADERS["dataset"](tmp_path)
    location = check({"loader": loader, "layers": SOFTMAX}, [], tmp_path, rng)
    with pytest.raises(ConfigError, match=r"tests\.data\.Points.*restore\.trusted=\[tests\.data\]"):
        restore(location).workflow.initialize()


def test_changed_data_are_refused_and_can_be_allowed(veles_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "fashion"
    folder.mkdir()
    data.write_idx(folder)
    first = veles_run("conf=mnist", f"loader.data_dir={folder}", "decision.max_epochs=1").stdout
    snapshot = re.findall(r"^Snapshot written: (\S+) ", first, re.MULTILINE)[-1]
    data.write_idx(folder, train=30)
    more = (f"snapshot={snapshot}", "decision.max_epochs=2")
    assert "the data that MnistLoader('loader') loads are not those of the snapshot" in veles_run(*more, code=2).stderr
    allowed = veles_run(*more, "restore.allow_changed_data=true").stdout
    assert "The data are not those of the snapshot (restore.allow_changed_data=true): the run goes on with them" in allowed
    assert "Epoch 2: train" in allowed


def test_an_rmse_is_no_percentage(veles_run: Run) -> None:
    sizes = ("loader.train_size=300", "loader.validation_size=100")
    done = veles_run("conf=mnist_ae", *sizes, "decision.max_epochs=2", "seed=1").stdout
    error, epoch = re.search(r"^Best validation RMSE: (\d\.\d{4}) \(epoch (\d)\)$", done, re.MULTILINE).groups()
    assert re.search(rf"^Epoch {epoch}: train \d\.\d{{4}}, validation {error}, .*  \(best so far\)$", done, re.MULTILINE)
    snapshot = re.search(rf"^Snapshot written: (\S+mnist_ae_validation_{error}_train_\S+) ", done, re.MULTILINE)[1]
    assert f"{snapshot}: validation {error}\n" in veles_run(f"snapshot={snapshot}", "mode=evaluate").stdout
