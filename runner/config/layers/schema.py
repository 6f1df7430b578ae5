"""The settings of each type of layer: its forward side (`->` in VELES's form) and its backward side (`<-`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.config.layers.image_layers import (
    BatchNormForwardConfig,
    ConvForwardConfig,
    CutterForwardConfig,
    DeconvForwardConfig,
    DepoolingForwardConfig,
    LocalResponseNormForwardConfig,
    PoolingForwardConfig,
)
from runner.config.layers.weighted_layers import GradientConfig, InitializationConfig, MatrixGradientConfig
from runner.errors import ConfigError

SIZE = Any  # OmegaConf has no union of an integer and a list

MODULE = "module"
"""The type of a layer that is a `torch.nn.Module`, whose arguments are not ours to check."""


@dataclass(kw_only=True)
class All2AllForwardConfig(InitializationConfig):
    """The forward side (`->`) of a fully connected layer."""

    output_sample_shape: SIZE = None
    """Number of outputs, or the shape of a sample of them; for `softmax`, by default the number of classes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.output_sample_shape
        sizes = shape if isinstance(shape, list | tuple) else [shape]
        if not sizes or not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
            given = " is missing: it" if shape is None else f"={shape!r}"
            raise ConfigError(f"output_sample_shape{given} must be a positive integer, or a list of such")


@dataclass(kw_only=True)
class SoftmaxForwardConfig(All2AllForwardConfig):
    """The forward side of the softmax layer."""

    def __post_init__(self) -> None:
        if self.output_sample_shape is not None:
            super().__post_init__()


@dataclass(kw_only=True)
class DropoutForwardConfig:
    """The forward side of dropout."""

    dropout_ratio: float = 0.5
    """Share of the values that is dropped, from 0 to below 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout_ratio < 1:
            raise ConfigError(f"dropout_ratio={self.dropout_ratio} must be at least 0 and below 1")


@dataclass(kw_only=True)
class MulForwardConfig:
    """The forward side of `activation_mul`."""

    factor: float = 1.0
    """What the values are multiplied by."""


@dataclass(kw_only=True)
class ModuleForwardConfig:
    """The forward side of a `torch.nn.Module`; keys that do not belong to the backward side are its arguments."""

    _target_: str | None = None
    """The module's class, such as `torch.nn.Conv2d`; with it, `type` may be left out."""

    def __post_init__(self) -> None:
        if not self._target_:
            raise ConfigError("_target_ must name a class, such as torch.nn.Conv2d")


@dataclass(kw_only=True)
class NoConfig:
    """A side of a layer that has no settings."""


LAYER_CONFIGS: dict[str, tuple[type, type]] = {
    **dict.fromkeys(
        ("all2all", "all2all_tanh", "all2all_relu", "all2all_softplus", "all2all_sigmoid"),
        (All2AllForwardConfig, MatrixGradientConfig),
    ),
    "softmax": (SoftmaxForwardConfig, MatrixGradientConfig),
    **dict.fromkeys(
        ("conv", "conv_tanh", "conv_relu", "conv_softplus", "conv_sigmoid"),
        (ConvForwardConfig, MatrixGradientConfig),
    ),
    "deconv": (DeconvForwardConfig, MatrixGradientConfig),
    **dict.fromkeys(
        ("max_pooling", "avg_pooling", "maxabs_pooling", "stochastic_pooling", "stochastic_abs_pooling"),
        (PoolingForwardConfig, NoConfig),
    ),
    "depooling": (DepoolingForwardConfig, NoConfig),
    "dropout": (DropoutForwardConfig, NoConfig),
    "local_response_norm": (LocalResponseNormForwardConfig, NoConfig),
    "batch_norm": (BatchNormForwardConfig, GradientConfig),
    **dict.fromkeys(
        [f"activation_{function}" for function in ("tanh", "relu", "softplus", "sigmoid", "log", "sincos")],
        (NoConfig, NoConfig),
    ),
    "activation_mul": (MulForwardConfig, NoConfig),
    "cutter": (CutterForwardConfig, NoConfig),
    MODULE: (ModuleForwardConfig, GradientConfig),
}
"""For each type of layer the settings of its forward and of its backward side."""
