"""Deconvolution: the way back of a convolution, for autoencoders."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.layers.conv import Conv, convolution_backward
from runner.nn.layers.image_shapes import as_images, image_shape
from runner.nn.layers.weighted import WeightedForward, WeightedGradient


class Deconv(WeightedForward):
    """The transpose of a convolution: from the shape of its output to that of its input, with its padding, step and groups.

    Attributes:
        weights: as the convolution's; the very same, if tied.
        bias: of shape (channels of the convolution's input,), or None.

    Args:
        conv: the name of the convolution.
        tied: whether the weights are the convolution's. Then both gradient units update them.
        initialization: as in `WeightedForward`.

    Raises:
        ConfigError: at `initialize()`, there is no such convolution before it, or its output has another shape than the input.
    """

    conv: str
    tied: bool

    def __init__(
        self, workflow: Workflow, name: str, *, seed: int, conv: str, tied: bool = True, **initialization: Any
    ) -> None:
        super().__init__(workflow, name, seed=seed, **initialization)
        self.conv = conv
        self.tied = tied

    def initialize(self) -> None:
        self.conv_: Conv = self.layer_before("conv", self.conv, Conv)
        shape = image_shape(self)
        if shape != self.conv_.output_shape:
            raise ConfigError(
                f"layers.{self.name} gets samples of {shape}, and the output of layers.{self.conv} is {self.conv_.output_shape}"
            )
        assert self.conv_.weights is not None
        self.output_shape = self.conv_.image_shape_
        weights = self.conv_.weights
        if self.tied and self.weights is None:
            self.weights = weights
            if self.include_bias:
                self.bias = self.drawn("bias", self.output_shape[:1], weights[0].numel())
        self.initialize_parameters(tuple(weights.shape), self.output_shape[0], torch.channels_last)
        if self.tied:
            self.weights = weights

    def run(self) -> None:
        assert self.weights is not None
        conv = self.conv_
        self.image_ = as_images(self.input_, conv.output_shape)
        left, top, right, bottom = conv.padding
        channels, height, width = conv.image_shape_
        full = self.image_.new_empty((len(self.image_), channels, height + top + bottom, width + left + right))
        # The transpose of a convolution is its gradient with respect to the input.
        full = full.contiguous(memory_format=torch.channels_last)
        output, _, _ = convolution_backward(conv, self.image_, full, self.weights, [0, 0], True, False, False)
        output = functional.pad(output, (-left, -right, -top, -bottom))
        self.output_ = output if self.bias is None else output + self.bias.view(-1, 1, 1)


class DeconvGradient(WeightedGradient):
    """The backward step of `Deconv`."""

    forward: Deconv

    def run(self) -> None:
        forward = self.forward
        conv, weights = forward.conv_, forward.weights
        assert weights is not None
        left, top, right, bottom = conv.padding
        error = as_images(self.err_output_, forward.output_shape)
        if forward.bias is not None:
            self.apply("bias", forward.bias, error.sum((0, 2, 3)))
        error = functional.pad(error, (left, right, top, bottom)).contiguous(memory_format=torch.channels_last)
        if self.needs_err_input:
            back = torch.conv2d(error, weights, None, conv.stride, 0, 1, conv.grouping)
            self.err_input_ = back.reshape(forward.input_.shape)
        _, weights_gradient, _ = convolution_backward(conv, forward.image_, error, weights, [0, 0], False, True, False)
        self.apply("weights", weights, weights_gradient)
