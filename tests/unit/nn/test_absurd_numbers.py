"""Numbers of the right type that mean nothing: one clear error, whether a configuration has them or a snapshot."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError, RunnerError
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.snapshots.restoring.restore import restore
from tests.networks import LAYERS, network, trained

BY_CONFIGURATION: dict[str, dict[str, Any]] = {
    "loader.minibatch_size=-5": {"loader_config": {"minibatch_size": -5}},
    "loader.shuffle_limit=": {"loader_config": {"shuffle_limit": 2**70}},
    "loader.validation_ratio=nan": {"loader_config": {"validation_ratio": math.nan}},
    "layers.drop.*dropout_ratio=nan": {"layers": LAYERS | {"drop": {"type": "dropout", "dropout_ratio": math.nan}}},
    "weights_stddev=nan": {"layers": LAYERS | {"fc1": LAYERS["fc1"] | {"weights_stddev": math.nan}}},
    "weights_stddev=inf": {"layers": LAYERS | {"fc1": LAYERS["fc1"] | {"weights_stddev": math.inf}}},
    "learning_rate=1e": {"layers": LAYERS | {"fc1": LAYERS["fc1"] | {"learning_rate": 1e308}}},
    "layers.fc1: weights of shape .* more than this machine has": {
        "layers": LAYERS | {"fc1": LAYERS["fc1"] | {"output_sample_shape": 10**13}}
    },
    "decision.max_epochs=": {"decision_config": {"max_epochs": 2**70}},
    "'exp' .* the factor nan": {"lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": math.nan}}},
    "'exp' .* the factor 1e[+]308 after 1 epochs": {"lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": 1e308}}},
    "'inv' .* the factor nan": {"lr_adjuster_config": {"policy": "inv", "parameters": {"gamma": -1, "power": 0.5}}},
    "'cosine' .* the factor nan": {"lr_adjuster_config": {"policy": "cosine", "parameters": {"period": 3, "floor": math.nan}}},
}


@pytest.mark.parametrize("message", BY_CONFIGURATION)
def test_in_a_configuration(message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        trained(**BY_CONFIGURATION[message])


def _weights(workflow: StandardWorkflow, **values: Any) -> None:
    for name, value in values.items():
        setattr(workflow["gd_fc1"].steps["weights"], name, value)


BY_SNAPSHOT: dict[str, Callable[[StandardWorkflow], Any]] = {
    "loader.minibatch_size=-5": lambda workflow: setattr(workflow.loader, "minibatch_size", -5),
    "loader.validation_ratio=2": lambda workflow: setattr(workflow.loader, "validation_ratio", 2.0),
    "layers.drop.dropout_ratio=nan": lambda workflow: setattr(workflow["drop"], "dropout_ratio", math.nan),
    "layers.drop.dropout_ratio=1": lambda workflow: setattr(workflow["drop"], "dropout_ratio", 1.0),
    "layers.fc1: its weights .* of .1, 6.": lambda workflow: setattr(workflow["fc1"], "output_shape", ()),
    "layers.out: weights of shape .*-3": lambda workflow: setattr(workflow["out"], "output_shape", (-3,)),
    "factor on the learning rates=1e[+]308": lambda workflow: setattr(workflow.lr_adjuster, "scale", 1e308),
    "factor on the learning rates=nan": lambda workflow: setattr(workflow.lr_adjuster, "scale", math.nan),
    "'inv'": lambda workflow: workflow.lr_adjuster.__dict__.update(policy="inv", parameters={"gamma": -9.0, "power": 0.5}),
    "layers.fc1, weights: rate=inf": lambda workflow: _weights(workflow, rate=math.inf),
    "layers.fc1, weights: momentum=7": lambda workflow: _weights(workflow, momentum=7.0),
    "layers.fc1, weights: rate times decay": lambda workflow: _weights(workflow, rate=1e30, decay=1e30),
    "decision.max_epochs=0": lambda workflow: setattr(workflow.decision, "max_epochs", 0),
    "rollback.lr_minus=-1": lambda workflow: setattr(workflow.rollback, "lr_minus", -1.0),
    "rollback.fail_iterations=0": lambda workflow: setattr(workflow.rollback, "fail_iterations", 0),
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    trained(folder, rollback_config={"fail_iterations": 2}, decision_config={"max_epochs": 2})
    return folder / "blobs_current.5.pickle"


@pytest.mark.parametrize("message", BY_SNAPSHOT)
def test_in_a_snapshot(message: str, snapshot: Path) -> None:
    workflow = restore(snapshot, trusted=["tests"]).workflow
    BY_SNAPSHOT[message](workflow)
    with pytest.raises(RunnerError, match=message) as caught:
        workflow.initialize()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("threads", [-1, 1 << 16, 2**70])
def test_of_threads(threads: int, snapshot: Path) -> None:
    workflow = restore(snapshot, trusted=["tests"]).workflow
    workflow.threads = threads
    with pytest.raises(ConfigError, match=f"^threads={threads} must be between 1 and"):
        Launcher(device="cpu").prepare(workflow)
    with pytest.raises(ConfigError, match=f"^threads={threads} must be between 1 and"):
        Launcher(device="cpu", threads=threads)


def test_large_numbers_that_mean_something() -> None:
    workflow = network(layers=LAYERS | {"fc1": LAYERS["fc1"] | {"learning_rate": 1e30}}, decision_config={"max_epochs": 10**18})
    workflow.initialize()
    assert workflow["gd_fc1"].steps["weights"].rate == 1e30
