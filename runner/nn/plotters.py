"""What is shown of a network: its errors, its confusion, and the weights of its first layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from runner.graph import Workflow
from runner.nn.evaluators.evaluator import Metric
from runner.nn.layers.base import Forward
from runner.nn.loading.samples import CLASS_NAMES
from runner.plots.pictures import Curves, Matrix, Tiles
from runner.plots.plotter import Plotter

TILES = 100
"""Images of weights that are shown at most."""


class ErrorPlotter(Plotter):
    """Shows the error of each class of samples over the epochs.

    Linked attributes:
        history: for each epoch, the error by class of samples.
        best_epoch: the epoch with the lowest, from 1.
        metric: what the errors are.
    """

    history: Sequence[Mapping[str, float]]
    best_epoch: int
    metric: Metric

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "plot_errors")
        self.demand("history", "best_epoch", "metric")

    def picture(self) -> Curves | None:
        if not self.history:
            return None
        classes = [name for name in reversed(CLASS_NAMES) if any(name in errors for errors in self.history)]
        series = {name: [errors.get(name, math.nan) for errors in self.history] for name in classes}
        name, _, unit = self.metric
        return Curves(series=series, y=f"{name} ({unit.strip()})" if unit else name, marked=self.best_epoch)


class ConfusionPlotter(Plotter):
    """Shows the confusion matrix of the last epoch.

    Linked attributes:
        confusion: the matrices by class of samples.
        watched: the class of samples that is shown.
    """

    confusion: Mapping[str, Tensor]
    watched: str

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "plot_confusion")
        self.demand("confusion", "watched")

    def picture(self) -> Matrix | None:
        counts = self.confusion.get(self.watched)
        if counts is None:
            return None
        return Matrix(values=counts.cpu().numpy().copy(), title=f"{self.watched} set", x="answer", y="right class")


class WeightsPlotter(Plotter):
    """Shows the weights of the first layer that has any: an image for each output or kernel, and for each channel.

    The weights of what sees no images are one image: outputs from top to bottom, inputs from left to right.

    Args:
        workflow: the workflow.
        forwards: the layers.
    """

    def __init__(self, workflow: Workflow, forwards: Sequence[Forward]) -> None:
        super().__init__(workflow, "plot_weights")
        self.forwards = list(forwards)

    def picture(self) -> Tiles | None:
        for forward in self.forwards:
            for value in forward.tensors().values():
                if value.dim() in (2, 4):
                    return _tiles(forward, value)
        return None


def _tiles(forward: Forward, weights: Tensor) -> Tiles:
    images = weights.detach().reshape(-1, *_image_shape(forward, weights))
    shown = f", {TILES} of {len(images)} images" if len(images) > TILES else ""
    return Tiles(
        images=images[:TILES].float().cpu().numpy().copy(),
        title=f"weights of {forward.name} {tuple(weights.shape)}{shown}",
    )


def _image_shape(forward: Forward, weights: Tensor) -> tuple[int, ...]:
    """Returns height and width of a kernel, or of the images that an output looks at; else of the whole matrix of weights."""
    if weights.dim() == 4:
        return tuple(weights.shape[2:])
    if len(forward.input_shape) > 1 and math.prod(forward.input_shape) == weights.shape[1]:
        return forward.input_shape[-2:]
    return tuple(weights.shape)
