"""Pooling by maximum, by largest absolute value, and by average; and depooling, the inverse of the first two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.config.layers.image_layers import spread
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.layers.base import Forward, Gradient, Shape
from runner.nn.layers.image_shapes import as_images, check_fits, image_shape, windows


class Pooling(Forward):
    """What all kinds of pooling have in common. Windows may extend beyond the right and bottom margins, as in VELES.

    Args:
        kx, ky: width and height of the window.
        sliding: step of the window: one number, or (x, y). Default: the window's size.

    Raises:
        ConfigError: at `initialize()`, the inputs are not images, or are smaller than the window.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def __init__(
        self, workflow: Workflow, name: str, *, seed: int, kx: int, ky: int, sliding: int | Sequence[int] | None = None
    ) -> None:
        super().__init__(workflow, name)
        self.kernel = ky, kx
        x, y = spread("sliding", sliding or (kx, ky), 2, 1)
        self.stride = y, x

    def initialize(self) -> None:
        channels, *sizes = self.image_shape_ = image_shape(self)
        check_fits(self, (sizes[0], sizes[1]), self.kernel)
        rows, columns = (
            # torch leaves out a window that begins outside the image.
            min(windows(size, window, step, partial=True), -(-size // step))
            for size, window, step in zip(sizes, self.kernel, self.stride, strict=True)
        )
        self.output_shape = channels, rows, columns

    def run(self) -> None:
        self.image_ = as_images(self.input_, self.image_shape_)
        self.pool()

    def pool(self) -> None:
        """Computes `output_` from `image_`."""
        raise NotImplementedError


class MaxPooling(Pooling):
    """The largest value of each window; `indices_` has its position in the channel's plane."""

    def pool(self) -> None:
        self.output_, self.indices_ = torch.ops.aten.max_pool2d_with_indices(
            self.image_, self.kernel, self.stride, [0, 0], [1, 1], True
        )


class MaxAbsPooling(MaxPooling):
    """The value of each window that is largest without its sign."""

    def pool(self) -> None:
        image = self.image_
        self.image_ = image.abs()
        super().pool()
        self.image_ = image
        self.output_ = gathered(image, self.indices_)


class MaxPoolingGradient(Gradient):
    """The backward step of `MaxPooling` and `MaxAbsPooling`: the error goes where the value came from."""

    forward: MaxPooling

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape)
        self.err_input_ = torch.ops.aten.max_pool2d_with_indices_backward(
            error, forward.image_, forward.kernel, forward.stride, [0, 0], [1, 1], True, forward.indices_
        ).reshape(forward.input_.shape)


class AvgPooling(Pooling):
    """The mean of each window, over the part inside the image."""

    def pool(self) -> None:
        self.output_ = torch.ops.aten.avg_pool2d(self.image_, self.kernel, self.stride, [0, 0], True, False)


class AvgPoolingGradient(Gradient):
    """The backward step of `AvgPooling`."""

    forward: AvgPooling

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape)
        self.err_input_ = torch.ops.aten.avg_pool2d_backward(
            error, forward.image_, forward.kernel, forward.stride, [0, 0], True, False, None
        ).reshape(forward.input_.shape)


class Depooling(Forward):
    """Puts values back where an earlier pooling took its own from; everything else is 0.

    Args:
        pooling: the name of the pooling.

    Raises:
        ConfigError: at `initialize()`, no such pooling comes before it, or the pooling's output has another shape than this
            layer's input.
    """

    pooling: str

    def __init__(self, workflow: Workflow, name: str, *, seed: int, pooling: str) -> None:
        super().__init__(workflow, name)
        self.pooling = pooling

    def initialize(self) -> None:
        self.pooling_: Pooling = self.layer_before("pooling", self.pooling, Pooling)
        if isinstance(self.pooling_, AvgPooling):
            raise ConfigError(f"layers.{self.name}.pooling={self.pooling!r} averages, so its values come from no single place")
        if image_shape(self) != self.pooling_.output_shape:
            raise ConfigError(
                f"layers.{self.name} gets samples of {self.input_shape}, and the output of layers.{self.pooling} is"
                f" {self.pooling_.output_shape}"
            )
        self.output_shape = self.pooling_.image_shape_

    def run(self) -> None:
        image = as_images(self.input_, self.pooling_.output_shape)
        self.output_ = scattered(image, self.indices, self.output_shape)

    @property
    def indices(self) -> Tensor:
        """The positions in each channel's plane from which the pooling took its values."""
        indices: Tensor = self.pooling_.indices_  # type: ignore[attr-defined]
        return indices


class DepoolingGradient(Gradient):
    """The backward step of `Depooling`."""

    forward: Depooling

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape)
        self.err_input_ = gathered(error, forward.indices).reshape(forward.input_.shape)


def gathered(image: Tensor, indices: Tensor) -> Tensor:
    """Returns the values at the given positions in each channel's plane."""
    return image.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)


def scattered(values: Tensor, indices: Tensor, shape: Shape) -> Tensor:
    """Returns images of the shape (channels, height, width) with the values, added up, at the given positions."""
    planes = values.new_zeros((values.shape[0], shape[0], shape[1] * shape[2]))
    return planes.scatter_add_(2, indices.flatten(2), values.flatten(2)).view(-1, *shape)
