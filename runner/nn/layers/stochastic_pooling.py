"""Stochastic pooling (Zeiler and Fergus, 2013)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from runner.graph import Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.layers.base import Gradient
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
        weights = self._windows(image.abs() if self.absolute else image.clamp(min=0))
        totals = weights.sum(2)
        if self.evaluating:
            means = (weights * self._windows(image)).sum(2) / totals.clamp(min=torch.finfo(image.dtype).tiny)
            self.output_ = means.view(len(image), *self.output_shape)
            return
        drawn = self.stream.uniform(tuple(totals.shape), 0.5, torch.float64).add_(0.5).to(image.device, image.dtype)
        chosen = (weights.cumsum(2) <= (drawn * totals).unsqueeze(2)).sum(2, keepdim=True).clamp_(max=weights.shape[2] - 1)
        alive, shape = totals > 0, (len(image), *self.output_shape)
        chosen *= alive.unsqueeze(2)  # the first value is inside the image
        self.indices_ = self.window_indices_.expand(weights.shape).gather(2, chosen).view(shape)
        self.alive_ = alive.view(shape)
        self.output_ = gathered(image, self.indices_) * self.alive_

    def _windows(self, image: Tensor) -> Tensor:
        """Returns the windows of each channel, of shape (samples, channels, values of a window, windows)."""
        samples, channels = image.shape[:2]
        padded = functional.pad(image, self.beyond_)
        columns = functional.unfold(padded, self.kernel, stride=self.stride)
        return columns.view(samples, channels, -1, columns.shape[-1])


class StochasticPoolingGradient(Gradient):
    """The backward step of `StochasticPooling`: the error goes where the value came from."""

    forward: StochasticPooling

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape) * forward.alive_
        self.err_input_ = scattered(error, forward.indices_, forward.image_shape_).reshape(forward.input_.shape)
