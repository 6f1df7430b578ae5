"""What is shown of networks of each kind."""

from typing import Any

import numpy as np
import pytest

from runner.nn import StandardWorkflow
from runner.plots.pictures import Curves, Matrix, Picture, Tiles
from tests.networks import LAYERS, SIZES, network

OUT = LAYERS["out"]
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 4}
AUTOENCODER: dict[str, Any] = {"loss_function": "mse", "layers": {"a": {"type": "all2all", "output_sample_shape": 6}}}


def trained(**settings: Any) -> StandardWorkflow:
    workflow = network(**settings)
    workflow.initialize()
    workflow.run()
    return workflow


def pictures(workflow: StandardWorkflow) -> dict[str, Picture | None]:
    return {plotter.name: plotter.picture() for plotter in workflow.plotters}


def test_errors_are_those_of_the_decision() -> None:
    workflow = trained()
    curves = pictures(workflow)["plot_errors"]
    assert isinstance(curves, Curves)
    history = workflow.decision.history
    assert curves.series == {name: [errors[name] for errors in history] for name in ("train", "validation")}
    assert (curves.y, curves.marked, len(history)) == ("error (%)", workflow.decision.best_epoch, 3)


def test_confusion_is_that_of_the_monitored_split() -> None:
    matrix = pictures(trained())["plot_confusion"]
    assert isinstance(matrix, Matrix)
    assert matrix.title == "validation set"
    assert matrix.values.sum(1).tolist() == [7, 7, 7] == [SIZES[1] // 3] * 3


def test_regression_has_no_confusion() -> None:
    shown = pictures(trained(**AUTOENCODER))
    assert set(shown) == {"plot_errors", "plot_weights"}
    assert shown["plot_errors"].y == "RMSE"


@pytest.mark.parametrize(
    ("layers", "shape", "title"),
    [
        (LAYERS, (8, 2, 3), "weights of fc1 (8, 6)"),
        ({"big": {"type": "all2all", "output_sample_shape": 120}, "out": OUT}, (100, 2, 3), "big (120, 6), 100 of 120 images"),
        ({"conv": {"type": "conv", "kx": 2, "ky": 1, "n_kernels": 5}, "out": OUT}, (5, 1, 2), "weights of conv (5, 1, 1, 2)"),
        (
            {
                "flat": {"_target_": "torch.nn.Flatten"},
                "module": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 4},
            }
            | {"out": OUT},
            (1, 4, 6),
            "weights of module (4, 6)",
        ),
    ],
    ids=["fully connected", "many outputs", "convolution", "module that sees no images"],
)
def test_weights_of_the_first_layer_that_has_any(layers: dict[str, Any], shape: tuple[int, ...], title: str) -> None:
    workflow = trained(layers=layers)
    tiles = pictures(workflow)["plot_weights"]
    assert isinstance(tiles, Tiles)
    assert tiles.images.shape == shape
    assert title in tiles.title
    first = next(value for unit in workflow.forwards for value in unit.tensors().values() if value.dim() > 1)
    assert np.array_equal(tiles.images.ravel(), first.flatten()[: tiles.images.size].numpy())
    first.zero_()  # a copy: the run goes on while it is drawn
    assert tiles.images.any()


def test_before_the_first_epoch_there_is_nothing_to_see() -> None:
    shown = pictures(network())
    assert set(shown.values()) == {None}
