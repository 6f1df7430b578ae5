"""Local response normalization, and batch normalization."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.layers.base import Forward, Gradient
from runner.nn.layers.image_shapes import as_images, image_shape
from runner.nn.layers.weighted import WeightedGradient


class LocalResponseNorm(Forward):
    """Local response normalization: output = input (k + alpha sum of input^2 over n neighboring channels)^-beta.

    Args:
        alpha, beta, k, n: of the formula; n is odd.

    Raises:
        ConfigError: at `initialize()`, the inputs are not images.
    """

    alpha: float
    beta: float
    k: float
    n: int

    def __init__(self, workflow: Workflow, name: str, *, seed: int, alpha: float, beta: float, k: float, n: int) -> None:
        super().__init__(workflow, name)
        self.alpha, self.beta, self.k, self.n = float(alpha), float(beta), float(k), n

    def initialize(self) -> None:
        self.output_shape = image_shape(self)

    def run(self) -> None:
        self.image_ = as_images(self.input_, self.output_shape)
        self.scale_ = sum_of_neighbors(self.image_.square(), self.n).mul_(self.alpha).add_(self.k)
        self.output_ = self.image_ * self.scale_.pow(-self.beta)


class LocalResponseNormGradient(Gradient):
    """The backward step of `LocalResponseNorm`."""

    forward: LocalResponseNorm

    def run(self) -> None:
        forward = self.forward
        error = as_images(self.err_output_, forward.output_shape)
        scale, image = forward.scale_, forward.image_
        power = scale.pow(-forward.beta)
        shares = sum_of_neighbors(error * image * power / scale, forward.n)
        error = error * power - image * shares * (2 * forward.alpha * forward.beta)
        self.err_input_ = error.reshape(forward.input_.shape)


def sum_of_neighbors(values: Tensor, n: int) -> Tensor:
    """Returns for each channel the sum over it and its neighbors, `n` channels in all."""
    half, channels = n // 2, values.shape[1]
    padded = functional.pad(values, (0, 0, 0, 0, half, half))
    total = padded[:, :channels].clone()
    for first in range(1, n):
        total += padded[:, first : first + channels]
    return total


class BatchNorm(Forward):
    """Batch normalization, by channel; of samples that are not images, each value is a channel.

    Training uses the mean and the variance of the minibatch, evaluation the running statistics.

    Attributes:
        weights, bias: the factor and the offset, of shape (channels,).
        mean, variance: the running statistics, of shape (channels,).

    Args:
        epsilon: added to the variance.
        momentum: the share of each minibatch in the running statistics.

    Raises:
        ConfigError: at `initialize()`, the samples have more than three dimensions.
    """

    epsilon: float
    momentum: float
    weights: Tensor | None
    bias: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, workflow: Workflow, name: str, *, seed: int, epsilon: float, momentum: float) -> None:
        super().__init__(workflow, name)
        self.epsilon, self.momentum = float(epsilon), float(momentum)
        self.weights = None

    def initialize(self) -> None:
        if len(self.input_shape) == 1:
            self.output_shape = self.input_shape
        else:
            self.output_shape = image_shape(self)
        if self.weights is None:
            channels, dtype = self.output_shape[0], self.dtype
            self.weights, self.bias = torch.ones(channels, dtype=dtype), torch.zeros(channels, dtype=dtype)
            self.mean, self.variance = torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
        shape = self.output_shape[:1]
        self.weights, self.bias = self.fitting("weights", shape), self.fitting("bias", shape)
        self.mean, self.variance = self.fitting("mean", shape), self.fitting("variance", shape)

    def run(self) -> None:
        training = not self.evaluating
        self.values_ = self.input_ if len(self.output_shape) == 1 else as_images(self.input_, self.output_shape)
        assert self.weights is not None
        if self.values_.shape[1] != len(self.weights):  # the kernel does not look
            raise ValueError(f"{self.values_.shape[1]} channels instead of {len(self.weights)}")
        if training and self.values_.numel() == self.values_.shape[1]:
            raise ConfigError(
                f"layers.{self.name} gets a minibatch with one value for each channel, which has no variance: choose"
                " loader.minibatch_size so that no minibatch has a single sample"
            )
        self.output_, self.mean_, self.deviation_ = torch.ops.aten.native_batch_norm(
            self.values_, self.weights, self.bias, self.mean, self.variance, training, self.momentum, self.epsilon
        )


class BatchNormGradient(WeightedGradient):
    """The backward step of `BatchNorm`."""

    adjustable = WeightedGradient.BY_LAYER

    forward: BatchNorm

    def run(self) -> None:
        forward = self.forward
        assert forward.weights is not None
        error = self.err_output_
        if len(forward.output_shape) > 1:
            error = as_images(error, forward.output_shape)
        # The kernel looks at none of this. Statistics of the minibatch are empty where the forward step has evaluated.
        if error.shape != forward.values_.shape or len(forward.deviation_) != len(forward.weights):
            raise ValueError(f"an error of {tuple(error.shape)} for values of {tuple(forward.values_.shape)}")
        error_input, weights_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
            error,
            forward.values_,
            forward.weights,
            forward.mean,
            forward.variance,
            forward.mean_,
            forward.deviation_,
            True,
            forward.epsilon,
            [self.needs_err_input, True, True],
        )
        if self.needs_err_input:
            self.err_input_ = error_input.reshape(forward.input_.shape)
        self.apply("weights", forward.weights, weights_gradient)
        self.apply("bias", forward.bias, bias_gradient)
