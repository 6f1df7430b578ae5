"""The settings of the layers that work on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.config.layers.weighted_layers import InitializationConfig
from runner.errors import ConfigError

SIZES = Any  # OmegaConf has no union of an integer and a list


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is None or value < 1:
            given = f"{name} is missing: it" if value is None else f"{name}={value}"
            raise ConfigError(f"{given} must be at least 1")


def spread(name: str, value: Any, length: int, minimum: int) -> tuple[int, ...]:
    """Returns a tuple of `length` numbers: of one number, repeated, or of a list with that length.

    Raises:
        ConfigError: the value is something else, or a number is below the minimum.
    """
    numbers = list(value) if isinstance(value, list | tuple) else [value] * length
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= minimum for number in numbers)
    if len(numbers) != length or not whole:
        raise ConfigError(f"{name}={value!r} must be a number of at least {minimum}, or a list of {length} such numbers")
    return tuple(numbers)


@dataclass(kw_only=True)
class WindowConfig:
    """A window that moves over an image."""

    kx: int = 2
    """Width of the window."""
    ky: int = 2
    """Height of the window."""
    sliding: SIZES = None
    """Step of the window: one number, or [x, y]."""

    def __post_init__(self) -> None:
        _check_positive(self, "kx", "ky")
        if self.sliding is not None:
            spread("sliding", self.sliding, 2, 1)


@dataclass(kw_only=True)
class PoolingForwardConfig(WindowConfig):
    """The forward side of pooling. Default step: the window's size."""


@dataclass(kw_only=True)
class ConvForwardConfig(WindowConfig, InitializationConfig):
    """The forward side of convolution. Default step: 1."""

    kx: int = 5
    """Width of the kernels."""
    ky: int = 5
    """Height of the kernels."""
    n_kernels: int | None = None
    """Number of kernels, which is the number of channels of the output."""
    padding: SIZES = 0
    """Zeros around the image: one number, or [left, top, right, bottom]."""
    grouping: int = 1
    """Number of groups into which the channels are divided; each kernel sees one group."""

    def __post_init__(self) -> None:
        WindowConfig.__post_init__(self)
        InitializationConfig.__post_init__(self)
        _check_positive(self, "n_kernels", "grouping")
        spread("padding", self.padding, 4, 0)
        if self.n_kernels is not None and self.n_kernels % self.grouping:
            raise ConfigError(f"n_kernels={self.n_kernels} must be a multiple of grouping={self.grouping}")


@dataclass(kw_only=True)
class DeconvForwardConfig(InitializationConfig):
    """The forward side of deconvolution: the transpose of an earlier convolution, whose geometry it takes."""

    include_bias: bool = False
    """Whether there is a bias."""
    conv: str | None = None
    """Name of the convolution: the output has the shape of its input."""
    tied: bool = True
    """Whether the weights are shared with the convolution."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_named(self.conv, "conv", "convolution")


@dataclass(kw_only=True)
class DepoolingForwardConfig:
    """The forward side of depooling: the inverse of an earlier pooling."""

    pooling: str | None = None
    """Name of the pooling, of any type but `avg_pooling`: each value goes back to where it took one."""

    def __post_init__(self) -> None:
        _check_named(self.pooling, "pooling", "pooling layer")


def _check_named(value: str | None, key: str, what: str) -> None:
    if not value:
        raise ConfigError(f"{key} must name an earlier {what}")


@dataclass(kw_only=True)
class CutterForwardConfig:
    """The forward side of a cutter."""

    padding: SIZES = 0
    """Rows and columns cut off: one number, or [left, top, right, bottom]."""

    def __post_init__(self) -> None:
        spread("padding", self.padding, 4, 0)


@dataclass(kw_only=True)
class LocalResponseNormForwardConfig:
    """The forward side of local response normalization: x (k + alpha sum x^2)^-beta, over n neighboring channels."""

    alpha: float = 0.0001
    """Factor of the sum of squares."""
    beta: float = 0.75
    """Exponent."""
    k: float = 2.0
    """Offset, above 0."""
    n: int = 5
    """Number of channels in the sum, odd."""

    def __post_init__(self) -> None:
        if self.n < 1 or self.n % 2 == 0:
            raise ConfigError(f"n={self.n} must be odd and at least 1 (channels)")
        if self.k <= 0 or self.alpha < 0:
            raise ConfigError(f"k={self.k} must be above 0, and alpha={self.alpha} not negative")


@dataclass(kw_only=True)
class BatchNormForwardConfig:
    """The forward side of batch normalization, by channel."""

    epsilon: float = 1e-5
    """Added to the variance, above 0."""
    momentum: float = 0.1
    """Share of each minibatch in the running statistics, above 0, at most 1."""

    def __post_init__(self) -> None:
        if self.epsilon <= 0:
            raise ConfigError(f"epsilon={self.epsilon} must be above 0")
        if not 0 < self.momentum <= 1:
            raise ConfigError(f"momentum={self.momentum} must be above 0 and at most 1")
