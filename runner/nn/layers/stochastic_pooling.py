"""Stochastic pooling (Zeiler and Fergus, 2013)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from runner.graph import Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.layers.base import Gradient, Shape
from runner.nn.layers.image_shapes import as_images
from runner.nn.layers.pooling import Pooling, gathered, scattered


class StochasticPooling(Pooling):
    """In training, one value of each window, drawn with a probability in proportion to it; in evaluation,
    their mean with these probabilities.

    Values below 0 count as 0; a window without a positive value yields 0.

    Args:
        absolute: whether absolute values count.
        window: as in `Pooling`.
    """

    absolute: bool
    stream: Stream

    def __init__(self, workflow: Workflow, name: str, *, seed: int, absolute: bool = False, **window: Any) -> None:
        super().__init__(workflow, name, seed=seed, **window)
        self.absolute = absolute
        self.stream = Stream(seed, name)

    def initialize(self) -> None:
        super().initialize()
        _, height, width = self.image_shape_
        (_, rows, columns), (ky, kx), (y, x) = self.output_shape, self.kernel, self.stride
        # Beyond the image there are zeros, which are never drawn.
        self.beyond_ = (0, max(0, (columns - 1) * x + kx - width), 0, max(0, (rows - 1) * y + ky - height))
        plane = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
        self.window_indices_ = self._windows(plane).long().to(self.device)

    def pool(self) -> None:
        image = self.image_
        if self.evaluating:
            means = mean_of_windows(image, self.beyond_, self.kernel, self.stride, self.absolute)
            self.output_ = means.view(len(image), *self.output_shape)
            return
        weights = self._windows(image.abs() if self.absolute else image.clamp(min=0))
        totals = weights.sum(2)
        drawn = (self._drawn(len(image)) if self.rows_ is None else self.drawn_[self.rows_]).to(image.device, image.dtype)
        chosen = (weights.cumsum(2) <= (drawn * totals).unsqueeze(2)).sum(2, keepdim=True).clamp_(max=weights.shape[2] - 1)
        alive, shape = totals > 0, (len(image), *self.output_shape)
        chosen *= alive.unsqueeze(2)  # the first value is inside the image
        self.indices_ = self.window_indices_.expand(weights.shape).gather(2, chosen).view(shape)
        self.alive_ = alive.view(shape)
        self.output_ = gathered(image, self.indices_) * self.alive_

    def draw(self, samples: int) -> None:
        self.drawn_ = self._drawn(samples)

    def _drawn(self, samples: int) -> Tensor:
        """Returns a number from 0 to 1 for each window, of shape (samples, channels, windows)."""
        channels, rows, columns = self.output_shape
        return self.stream.uniform((samples, channels, rows * columns), 0.5, torch.float64).add_(0.5)

    def _windows(self, image: Tensor) -> Tensor:
        return windows_of(image, self.beyond_, self.kernel, self.stride)


def windows_of(image: Tensor, beyond: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Returns the windows of each channel, of shape (samples, channels, values of a window, windows).

    Args:
        image: of shape (samples, channels, height, width).
        beyond: zeros at the margins: left, right, top, bottom.
        kernel, stride: of the windows, (rows, columns).
    """
    samples, channels = image.shape[:2]
    columns = functional.unfold(functional.pad(image, beyond), kernel, stride=stride)
    return columns.view(samples, channels, kernel[0] * kernel[1], -1)


def mean_of_windows(image: Tensor, beyond: Shape, kernel: tuple[int, int], stride: tuple[int, int], absolute: bool) -> Tensor:
    """Returns the mean of each window, each value weighted with itself, of shape (samples, channels, windows).

    Args:
        absolute: whether the weights are absolute values; otherwise values below 0 have none.
    """
    weights = windows_of(image.abs() if absolute else image.clamp(min=0), beyond, kernel, stride)
    totals = weights.sum(2).clamp(min=torch.finfo(image.dtype).tiny)
    return (weights * windows_of(image, beyond, kernel, stride)).sum(2) / totals


class StochasticPoolingGradient(Gradient):
    """The backward step of `StochasticPooling`: the error goes where the value came from."""

    forward: StochasticPooling

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape) * forward.alive_
        self.err_input_ = scattered(error, forward.indices_, forward.image_shape_).reshape(forward.input_.shape)
