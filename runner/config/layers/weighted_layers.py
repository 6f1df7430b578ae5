"""What all layers with weights have: how the weights begin, and how gradient descent changes them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

from runner.checks import LARGEST, within
from runner.errors import ConfigError


class Distribution(Enum):
    """What weights are drawn from."""

    uniform = "uniform"
    gaussian = "gaussian"
    constant = "constant"


class DefaultStddev(Enum):
    """How large the weights are drawn where no size is given."""

    inputs = "inputs"
    veles = "veles"


@dataclass(kw_only=True)
class InitializationConfig:
    """How weights and bias begin."""

    weights_filling: Distribution = Distribution.uniform
    """What the weights are drawn from: `uniform`, `gaussian`, or `constant`."""
    weights_stddev: float | None = None
    """Limit (uniform), standard deviation (gaussian) or value (constant). Default: chosen by `default_stddev`."""
    bias_filling: Distribution = Distribution.uniform
    """What the bias is drawn from."""
    bias_stddev: float | None = None
    """As `weights_stddev`, for the bias."""
    default_stddev: DefaultStddev = DefaultStddev.inputs
    """`inputs`: 1 / sqrt(inputs of an output). `veles`: the same, a third of it if gaussian, at most 0.05; the bias takes the
    size of the weights."""
    include_bias: bool = True
    """Whether there is a bias."""

    def __post_init__(self) -> None:
        for what in ("weights", "bias"):
            size = getattr(self, f"{what}_stddev")
            within(f"{what}_stddev", size, -LARGEST)
            if size is not None and size < 0 and getattr(self, f"{what}_filling") is not Distribution.constant:
                raise ConfigError(f"{what}_stddev={size} must not be negative, unless {what}_filling is constant")


@dataclass(kw_only=True)
class GradientConfig:
    """The backward side (`<-`) of a layer with weights: stochastic gradient descent."""

    learning_rate: float = 0.01
    """Learning rate of the weights."""
    learning_rate_bias: float | None = None
    """Learning rate of the bias. Default: as for the weights."""
    weights_decay: float = 0.0
    """Weight decay of the weights."""
    weights_decay_bias: float | None = 0.0
    """Weight decay of the bias; null: as for the weights."""
    l1_vs_l2: float = 0.0
    """Share of L1 in the decay of the weights: 0 is L2 alone, 1 is L1 alone."""
    l1_vs_l2_bias: float | None = None
    """Share of L1 in the decay of the bias. Default: as for the weights."""
    # Not `momentum`: batch normalization, and modules of torch, have one of their own.
    gradient_momentum: float = 0.0
    """Momentum of the weights, 0 to below 1."""
    gradient_momentum_bias: float | None = None
    """Momentum of the bias. Default: as for the weights."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name.startswith("l1_vs_l2") and not 0 <= value <= 1:
                raise ConfigError(f"{item.name}={value} must be between 0 and 1")
            if item.name.startswith("gradient_momentum") and not 0 <= value < 1:
                raise ConfigError(f"{item.name}={value} must be at least 0 and below 1")
            within(item.name, value)


@dataclass(kw_only=True)
class MatrixGradientConfig(GradientConfig):
    """The backward side of a layer whose weights are a matrix, or kernels."""

    factor_ortho: float = 0.0
    """Strength of the regularizer that drives the weights of the outputs apart."""
