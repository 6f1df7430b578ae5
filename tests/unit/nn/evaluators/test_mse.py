import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from runner.errors import ConfigError
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from runner.snapshots.restoring.restore import restore
from tests.networks import network, trained

AUTOENCODER = {
    "code": {"type": "all2all_tanh", "output_sample_shape": 4, "learning_rate": 0.05},
    "out": {"type": "all2all", "output_sample_shape": [2, 3], "learning_rate": 0.05},
}
REGRESSION = {"out": {"type": "all2all", "output_sample_shape": 2, "learning_rate": 0.05}}


class PlaneLoader(FullBatchLoader):
    """Two linear functions of three numbers."""

    def load_data(self) -> dict[int, Samples]:
        data = np.random.default_rng(1).normal(size=(60, 3))
        targets = data @ np.array([[1.0, 0.5], [2.0, -1.0], [0.0, 3.0]]) + 7
        whole = Samples(data, None, targets)
        return {TRAIN: whole.taken(slice(40)), VALIDATION: whole.taken(slice(40, None))}


LOADERS["plane"] = PlaneLoader


def test_an_autoencoder_is_trained_as_by_plain_torch() -> None:
    workflow = network(layers=AUTOENCODER, loss_function="mse", loader_config={"minibatch_size": 50}, precision="float64")
    workflow.initialize()
    parameters = [value.clone().requires_grad_() for unit in workflow.forwards for value in (unit.weights, unit.bias)]
    workflow.run()
    train, validation = (workflow.loader.data_[key].flatten(1) for key in (TRAIN, VALIDATION))

    def squares(x: torch.Tensor) -> torch.Tensor:
        hidden = 1.7159 * torch.tanh(0.6666 * functional.linear(x, *parameters[:2]))
        return (functional.linear(hidden, *parameters[2:]) - x).square()

    for record in workflow.decision.history:
        errors = squares(train)
        (errors.sum() / 2 / len(train)).backward()
        with torch.no_grad():
            for value in parameters:
                value -= 0.05 * value.grad
                value.grad = None
            expected = {"train": float(errors.mean().sqrt()), "validation": float(squares(validation).mean().sqrt())}
        assert record == pytest.approx(expected)


def test_regression_learns_the_targets() -> None:
    workflow = trained(
        loader_name="plane",
        loader_config={"minibatch_size": 8, "normalization": "none"},
        layers=REGRESSION,
        loss_function="mse",
        decision_config={"max_epochs": 60},
    )
    assert workflow.decision.best < 0.01 < workflow.decision.history[0]["validation"]


def test_a_snapshot_named_after_an_rmse_scores_exactly_that(tmp_path: Path) -> None:
    trained(tmp_path, layers=AUTOENCODER, loss_function="mse")
    paths = list(tmp_path.glob("blobs_validation_0.????_train_0.????.5.pickle"))
    assert paths
    for path in paths:
        restored = restore(path, trusted=["tests"])
        restored.workflow.initialize()
        errors = restored.workflow.evaluate()
        assert errors == {"validation": restored.header.metrics["validation"]}
        assert f"_validation_{errors['validation']:.4f}_" in path.name


def test_a_run_that_diverges_has_no_score_and_no_best(tmp_path: Path) -> None:
    layers = {name: settings | {"learning_rate": 1e30} for name, settings in AUTOENCODER.items()}
    workflow = trained(tmp_path, layers=layers, loss_function="mse", decision_config={"max_epochs": 2, "on_nan": "ignore"})
    assert not math.isfinite(workflow.decision.history[-1]["validation"])
    assert workflow.progress()["score"] is None
    assert workflow.decision.best is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": {"out": REGRESSION["out"]}}, "the last layer has 2 outputs, and a sample has 6 values"),
        (
            {"layers": {"out": REGRESSION["out"] | {"output_sample_shape": 3}}, "loader_name": "plane"},
            "the last layer has 3 outputs, and a target has 2 values",
        ),
        ({"layers": {"out": {"type": "softmax", "output_sample_shape": 6}}}, "layers.out is of type softmax, which is for"),
    ],
)
def test_a_last_layer_that_does_not_fit_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(loss_function="mse", **settings).initialize()
