"""What is shown of a network: its errors, its confusion, and the weights of its first layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from runner.graph import Linked, Workflow
from runner.metrics import history_of
from runner.nn.evaluators.evaluator import Metric
from runner.nn.layers.base import Forward
from runner.nn.loading.samples import SPLIT_NAMES
from runner.plots.pictures import Curves, Matrix, Tiles
from runner.plots.plotter import Plotter

TILES = 100
"""The most images of weights that are shown."""


class ErrorPlotter(Plotter):
    """Shows the error of each split over the epochs.

    Linked attributes:
        history: for each epoch, the error of each split.
        best_epoch: the epoch with the lowest, from 1.
        metric: what the errors are.
    """

    history: Linked[list[dict[str, float]]]
    best_epoch: Linked[int]
    metric: Linked[Metric]

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "plot_errors")
        self.demand("history", "best_epoch", "metric")

    def picture(self) -> Curves | None:
        if not self.history:
            return None
        splits = [name for name in reversed(SPLIT_NAMES) if any(name in errors for errors in self.history)]
        series = {name: [errors.get(name, math.nan) for errors in self.history] for name in splits}
        name, unit = self.metric.name, self.metric.unit
        y = f"{name} ({unit.strip()})" if unit else name
        return Curves(series=series, y=y, marked=self.best_epoch, below=self._below(splits))

    def _below(self, splits: Sequence[str]) -> list[Curves]:
        """Returns the losses and the learning rate, as far as they are recorded."""
        rows = [] if self.workflow is None else history_of(self.workflow)
        losses = {split: _column(rows, split, "loss", len(self.history)) for split in splits}
        rate = _column(rows, "train", "learning_rate", len(self.history))
        found = [Curves(series=losses, y="loss", marked=self.best_epoch)] if _known(*losses.values()) else []
        return [*found, *([Curves(series={"": rate}, y="learning rate")] if _known(rate) else [])]


def _column(rows: Sequence[Mapping[str, Any]], split: str, name: str, epochs: int) -> list[float]:
    """Returns a quantity of a split for each epoch; NaN where there is none."""
    found = {row["epoch"]: row.get(name) for row in rows if row.get("split") == split}
    return [math.nan if (value := found.get(epoch)) is None else float(value) for epoch in range(1, epochs + 1)]


def _known(*series: Sequence[float]) -> bool:
    return any(math.isfinite(value) for values in series for value in values)


class ConfusionPlotter(Plotter):
    """Shows the confusion matrix of the last epoch.

    Linked attributes:
        confusion: the matrix of each split.
        monitor: the split that is shown.
    """

    confusion: Linked[dict[str, Tensor]]
    monitor: Linked[str]

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "plot_confusion")
        self.demand("confusion", "monitor")

    def picture(self) -> Matrix | None:
        counts = self.confusion.get(self.monitor)
        if counts is None:
            return None
        names = getattr(getattr(self.workflow, "loader", None), "label_names", [])
        values = counts.cpu().numpy().copy()
        return Matrix(values=values, names=list(names), title=f"{self.monitor} set", x="answer", y="right class")


class WeightsPlotter(Plotter):
    """Shows the weights of the first layer that has any: an image for each output or kernel, and for each channel.

    The weights of a layer whose inputs are not images are one image: outputs from top to bottom, inputs from left to right.

    Args:
        forwards: the layers.
    """

    forwards: list[Forward]

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
