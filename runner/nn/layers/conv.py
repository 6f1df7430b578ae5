"""The convolutional layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from runner.config.layers.image_layers import spread
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.layers.activation_functions import ACTIVATIONS
from runner.nn.layers.dense import All2All
from runner.nn.layers.image_shapes import as_images, check_fits, image_shape, windows
from runner.nn.layers.weighted import WeightedForward, WeightedGradient

Padding = tuple[int, ...]
"""Left, top, right, bottom."""


class Conv(WeightedForward):
    """output = activation(input * weights + bias), over images of shape (samples, channels, height, width).

    Attributes:
        weights: of shape (kernels, channels / groups, ky, kx), in memory with the channels last.
        bias: of shape (kernels,), or None.

    Args:
        activation: a name from `ACTIVATIONS`.
        n_kernels: number of kernels.
        kx, ky: width and height of the kernels.
        padding: zeros around the image: one number, or (left, top, right, bottom).
        sliding: step of the kernels: one number, or (x, y). Default: 1.
        grouping: number of groups of channels.
        initialization: as in `WeightedForward`.

    Raises:
        ConfigError: at `initialize()`, the inputs are not images, are smaller than the kernels, or have a number of channels
            that `grouping` does not divide.
    """

    activation: str
    n_kernels: int
    kernel: tuple[int, int]
    padding: Padding
    stride: tuple[int, int]
    grouping: int

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        *,
        seed: int,
        activation: str,
        n_kernels: int,
        kx: int,
        ky: int,
        padding: int | Sequence[int] = 0,
        sliding: int | Sequence[int] | None = None,
        grouping: int = 1,
        **initialization: Any,
    ) -> None:
        super().__init__(workflow, name, seed=seed, **initialization)
        self.activation = activation
        self.n_kernels = n_kernels
        self.kernel = ky, kx
        self.padding = spread("padding", padding, 4, 0)
        x, y = spread("sliding", sliding or 1, 2, 1)
        self.stride = y, x
        self.grouping = grouping

    def initialize(self) -> None:
        self.function_ = ACTIVATIONS[self.activation]
        channels, height, width = self.image_shape_ = image_shape(self)
        left, top, right, bottom = self.padding
        sizes = height + top + bottom, width + left + right
        check_fits(self, sizes, self.kernel)
        if channels % self.grouping:
            raise ConfigError(f"layers.{self.name}.grouping={self.grouping} does not divide its {channels} input channels")
        rows, columns = (windows(*args) for args in zip(sizes, self.kernel, self.stride, strict=True))
        self.output_shape = self.n_kernels, rows, columns
        shape = self.n_kernels, channels // self.grouping, *self.kernel
        self.initialize_parameters(shape, self.n_kernels, torch.channels_last)

    def veles_size(self, inputs: int) -> tuple[float, float]:
        before = self.links()["input_"].source
        supposed = ACTIVATIONS[before.activation].supposed if isinstance(before, All2All | Conv) else 1.0
        return 1 / (supposed * math.sqrt(inputs * self.grouping)), 0.05

    @property
    def even_padding(self) -> list[int] | None:
        """The padding (rows, columns) where it is the same on opposite sides, else None."""
        left, top, right, bottom = self.padding
        return [top, left] if (left, top) == (right, bottom) else None

    def run(self) -> None:
        assert self.weights is not None
        self.image_ = as_images(self.input_, self.image_shape_)
        padding = self.even_padding
        if padding is None:
            left, top, right, bottom = self.padding
            self.image_, padding = functional.pad(self.image_, (left, right, top, bottom)), [0, 0]
        output = torch.conv2d(self.image_, self.weights, self.bias, self.stride, padding, 1, self.grouping)
        gain = self.function_.gain
        self.output_ = self.function_.apply(output if gain == 1 else output.mul_(gain))


class ConvGradient(WeightedGradient):
    """The backward step of `Conv`."""

    forward: Conv

    def run(self) -> None:
        forward = self.forward
        assert forward.weights is not None
        output = forward.output_
        error = forward.function_.derive(as_images(self.err_output_, forward.output_shape), output)
        error_input, weights_gradient, bias_gradient = convolution_backward(
            *(forward, error, forward.image_, forward.weights, forward.even_padding or [0, 0]),
            *(self.needs_err_input, True, forward.bias is not None),
        )
        if error_input is not None:
            if forward.even_padding is None:
                left, top, right, bottom = forward.padding
                error_input = functional.pad(error_input, (-left, -right, -top, -bottom))
            self.err_input_ = error_input.reshape(forward.input_.shape)
        self.apply("weights", forward.weights, weights_gradient)
        if forward.bias is not None:
            self.apply("bias", forward.bias, bias_gradient)


def convolution_backward(
    conv: Conv, error: Tensor, image: Tensor, weights: Tensor, padding: Sequence[int], *wanted: bool
) -> Any:
    """Returns the gradients of input, weights and bias of a convolution; None for those not wanted."""
    bias, dilation, output_padding = [len(weights)], [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        error, image, weights, bias, conv.stride, padding, dilation, False, output_padding, conv.grouping, wanted
    )
