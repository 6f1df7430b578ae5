"""Layers as plain modules of torch. Each computes what its forward unit computes in evaluation, to the bit.

Nothing is written in place, so that they can be trained further, traced and exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.nn.core.parts import Part, taken_apart
from runner.nn.layers.activation_functions import A, B
from runner.nn.layers.conv import Padding
from runner.nn.layers.image_shapes import as_images
from runner.nn.layers.normalization import sum_of_neighbors
from runner.nn.layers.pooling import gathered, scattered
from runner.nn.layers.stochastic_pooling import mean_of_windows
from runner.text import shown

Shape = tuple[int, ...]
Pair = tuple[int, int]

GAINS = {"tanh": B}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "tanh": lambda x: x.tanh() * A,
    "softplus": functional.softplus,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "log": torch.asinh,
    "softmax": lambda x: torch.softmax(x, 1),
}
"""`ACTIVATIONS`, out of place; the input is multiplied by its gain first."""


class Step(nn.Module):
    """A layer, which is shown with the shapes of what it has learned, and with its settings."""

    def extra_repr(self) -> str:
        learned = {name: "x".join(map(str, value.shape)) for name, value in (*self.named_parameters(recurse=False),)}
        settings = {name: value for name, value in vars(self).items() if name[0] != "_" and name != "training"}
        return ", ".join(f"{name}={shown(value)}" for name, value in (learned | settings).items())


def _parameter(value: Tensor | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(value)


class Dense(Step):
    """A fully connected layer: `weights` of shape (outputs, inputs), `bias` of shape (outputs,) or None."""

    def __init__(self, weights: Tensor, bias: Tensor | None, activation: str) -> None:
        super().__init__()
        self.weights = _parameter(weights)
        self.bias = _parameter(bias)
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        assert self.weights is not None
        values, gain = values.flatten(1), GAINS.get(self.activation, 1.0)
        if self.bias is None:
            linear = torch.mm(values, self.weights.t()) * gain
        else:
            linear = torch.addmm(self.bias, values, self.weights.t(), beta=gain, alpha=gain)
        return FUNCTIONS[self.activation](linear)


class Convolution(Step):
    """A convolution of images of `image_shape`: `weights` of shape (kernels, channels / groups, ky, kx), `bias` or None."""

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor | None,
        activation: str,
        image_shape: Shape,
        padding: Padding,
        stride: Pair,
        groups: int,
    ) -> None:
        super().__init__()
        self.weights = _parameter(weights)
        self.bias = _parameter(bias)
        self.activation = activation
        self.image_shape, self.padding, self.stride, self.groups = image_shape, padding, stride, groups

    def forward(self, values: Tensor) -> Tensor:
        assert self.weights is not None
        left, top, right, bottom = self.padding
        image, even = as_images(values, self.image_shape), (left, top) == (right, bottom)
        if not even:
            image = functional.pad(image, (left, right, top, bottom))
        output = torch.conv2d(image, self.weights, self.bias, self.stride, (top, left) if even else (0, 0), 1, self.groups)
        gain = GAINS.get(self.activation, 1.0)
        return FUNCTIONS[self.activation](output if gain == 1 else output * gain)


class Deconvolution(Step):
    """The transpose of a convolution, from images of `shape` back to those of `image_shape`; `bias` or None."""

    def __init__(
        self,
        weights: Tensor | nn.Parameter,
        bias: Tensor | None,
        shape: Shape,
        image_shape: Shape,
        padding: Padding,
        stride: Pair,
        groups: int,
    ) -> None:
        super().__init__()
        # Tied weights are the convolution's own parameter.
        self.weights = weights if isinstance(weights, nn.Parameter) else nn.Parameter(weights)
        self.bias = _parameter(bias)
        self.shape, self.image_shape = shape, image_shape
        self.padding, self.stride, self.groups = padding, stride, groups

    def forward(self, values: Tensor) -> Tensor:
        left, top, right, bottom = self.padding
        sizes = self.image_shape[1] + top + bottom, self.image_shape[2] + left + right
        beyond = [
            size - (count - 1) * step - kernel
            for size, count, step, kernel in zip(sizes, self.shape[1:], self.stride, self.weights.shape[2:], strict=True)
        ]
        image = as_images(values, self.shape)
        output = torch.conv_transpose2d(image, self.weights, None, self.stride, 0, beyond, self.groups)
        output = output[:, :, top : sizes[0] - bottom, left : sizes[1] - right]
        return output if self.bias is None else output + self.bias.view(-1, 1, 1)


class Pool(Step):
    """Pooling of images of `image_shape`; windows may extend beyond the right and bottom margins."""

    def __init__(self, image_shape: Shape, kernel: Pair, stride: Pair) -> None:
        super().__init__()
        self.image_shape, self.kernel, self.stride = image_shape, kernel, stride

    def forward(self, values: Tensor) -> Tensor:
        return self.pooled(as_images(values, self.image_shape))[0]

    def pooled(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the values, and the positions in the channels' planes that they come from, if each comes from one."""
        raise NotImplementedError


class MaxPool(Pool):
    """The largest value of each window, or that which is largest without its sign."""

    def __init__(self, image_shape: Shape, kernel: Pair, stride: Pair, absolute: bool) -> None:
        super().__init__(image_shape, kernel, stride)
        self.absolute = absolute

    def pooled(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        values, indices = functional.max_pool2d(
            image.abs() if self.absolute else image, self.kernel, self.stride, 0, 1, ceil_mode=True, return_indices=True
        )
        return gathered(image, indices) if self.absolute else values, indices


class AvgPool(Pool):
    """The mean of each window, over the part inside the image."""

    def pooled(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        return functional.avg_pool2d(image, self.kernel, self.stride, 0, ceil_mode=True, count_include_pad=False), None


class StochasticPool(Pool):
    """The mean of each window, each value weighted with itself, or with its absolute value."""

    def __init__(
        self, image_shape: Shape, kernel: Pair, stride: Pair, absolute: bool, beyond: Shape, output_shape: Shape
    ) -> None:
        super().__init__(image_shape, kernel, stride)
        self.absolute, self.beyond, self.output_shape = absolute, beyond, output_shape

    def pooled(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        means = mean_of_windows(image, self.beyond, self.kernel, self.stride, self.absolute)
        return means.view(-1, *self.output_shape), None


class Depool(Step):
    """Puts values back to where the pooling `places` took its own from, in images of `shape`."""

    def __init__(self, places: str, input_shape: Shape, shape: Shape) -> None:
        super().__init__()
        self.places, self.input_shape, self.shape = places, input_shape, shape

    def forward(self, values: Tensor, indices: Tensor) -> Tensor:
        return scattered(as_images(values, self.input_shape), indices, self.shape)


class BatchNorm(Step):
    """Batch normalization with the statistics of the training: `mean` and `variance` of shape (channels,)."""

    mean: Tensor
    variance: Tensor

    def __init__(self, weights: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, shape: Shape, epsilon: float) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(weights), nn.Parameter(bias)
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.shape, self.epsilon = shape, epsilon

    def forward(self, values: Tensor) -> Tensor:
        values = values if len(self.shape) == 1 else as_images(values, self.shape)
        return functional.batch_norm(values, self.mean, self.variance, self.weights, self.bias, False, 0.0, self.epsilon)


class LocalResponseNorm(Step):
    """Local response normalization over `n` neighboring channels of images of `shape`."""

    def __init__(self, shape: Shape, alpha: float, beta: float, k: float, n: int) -> None:
        super().__init__()
        self.shape, self.alpha, self.beta, self.k, self.n = shape, alpha, beta, k, n

    def forward(self, values: Tensor) -> Tensor:
        image = as_images(values, self.shape)
        scale = sum_of_neighbors(image.square(), self.n) * self.alpha + self.k
        return image * scale.pow(-self.beta)


class Activation(Step):
    """An activation function from `FUNCTIONS`."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        gain = GAINS.get(self.activation, 1.0)
        return FUNCTIONS[self.activation](values if gain == 1 else values * gain)


class SinCos(Step):
    """The cosine at even positions of a sample, and the sine at odd ones."""

    def forward(self, values: Tensor) -> Tensor:
        flat = values.flatten(1)
        even = torch.arange(flat.shape[1], device=flat.device) % 2 == 0
        return torch.where(even, flat.cos(), flat.sin()).view(values.shape)


class Factor(Step):
    """Values times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factor


class Cut(Step):
    """Images of `image_shape` without rows and columns at their margins, from (left, top) on, in `shape`."""

    def __init__(self, image_shape: Shape, left: int, top: int, shape: Shape) -> None:
        super().__init__()
        self.image_shape, self.left, self.top, self.shape = image_shape, left, top, shape

    def forward(self, values: Tensor) -> Tensor:
        _, rows, columns = self.shape
        return as_images(values, self.image_shape)[:, :, self.top : self.top + rows, self.left : self.left + columns]


class Unchanged(Step):
    """The values as they are, which is what dropout does in evaluation."""

    def forward(self, values: Tensor) -> Tensor:
        return values


class Answers(Step):
    """Probabilities of classes, of what a network gives when it is trained with a loss of its own."""

    BINARY = ("logit", "probability")
    """What stands for two classes, as one number for a sample."""
    FUNCTIONS: ClassVar[dict[str, Callable[[Tensor], Tensor]]] = {
        "logits": lambda x: torch.softmax(x.flatten(1), 1),
        "log_probabilities": lambda x: x.flatten(1).exp(),
        "logit": lambda x: _both(torch.sigmoid(x.reshape(-1, 1))),
        "probability": lambda x: _both(x.reshape(-1, 1).clamp(0, 1)),  # which MSELoss does not see to
    }

    def __init__(self, given: str) -> None:
        super().__init__()
        self.given = given

    @classmethod
    def of(cls, given: str) -> Answers | None:
        """Returns the step for what is given; None if it is what the network is to give."""
        return cls(given) if given in cls.FUNCTIONS else None

    def forward(self, values: Tensor) -> Tensor:
        return self.FUNCTIONS[self.given](values)


def _both(probability: Tensor) -> Tensor:
    return torch.cat([1 - probability, probability], 1)


class Taking(Step):
    """A module of torch that takes values of one type, or a tuple or a dict; of what it returns, one tensor is the output."""

    def __init__(
        self, module: nn.Module, dtype: torch.dtype, parts: Sequence[Part], numbers: torch.dtype, output: str | int | None
    ) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype
        self.parts, self.numbers, self.output = parts, numbers, output

    def forward(self, values: Tensor) -> Tensor:
        result: Any = self.module(taken_apart(self.parts, values.to(self.dtype), self.numbers))
        output: Tensor = result if self.output is None else result[self.output]
        return output
