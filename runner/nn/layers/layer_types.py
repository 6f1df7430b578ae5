"""The layers, by their type in the configuration (`layers.NAME.type`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from runner.nn.layers.activation import (
    ActivationGradient,
    ActivationLayer,
    Multiplication,
    MultiplicationGradient,
    SinCos,
    SinCosGradient,
)
from runner.nn.layers.base import Forward, Gradient
from runner.nn.layers.conv import Conv, ConvGradient
from runner.nn.layers.cutter import Cutter, CutterGradient
from runner.nn.layers.deconv import Deconv, DeconvGradient
from runner.nn.layers.dense import All2All, All2AllGradient
from runner.nn.layers.dropout import Dropout, DropoutGradient
from runner.nn.layers.module import ModuleGradient
from runner.nn.layers.normalization import BatchNorm, BatchNormGradient, LocalResponseNorm, LocalResponseNormGradient
from runner.nn.layers.own_step import layer_of
from runner.nn.layers.pooling import (
    AvgPooling,
    AvgPoolingGradient,
    Depooling,
    DepoolingGradient,
    MaxAbsPooling,
    MaxPooling,
    MaxPoolingGradient,
)
from runner.nn.layers.stochastic_pooling import StochasticPooling, StochasticPoolingGradient


@dataclass(frozen=True)
class LayerType:
    """How to make the two units of a layer, each with its side of the settings."""

    forward: Callable[..., Forward]
    gradient: Callable[..., Gradient]
    has_weights: bool = False


_SUFFIXES = {"": "linear"} | {f"_{name}": name for name in ("tanh", "relu", "softplus", "sigmoid", "log")}
"""How the types of layers name activations."""


def _all2all(activation: str) -> LayerType:
    return LayerType(partial(All2All, activation=activation), All2AllGradient, has_weights=True)


def _conv(activation: str) -> LayerType:
    return LayerType(partial(Conv, activation=activation), ConvGradient, has_weights=True)


def _activation(activation: str) -> LayerType:
    return LayerType(partial(ActivationLayer, activation=activation), ActivationGradient)


LAYERS: dict[str, LayerType] = {
    **{f"all2all{suffix}": _all2all(name) for suffix, name in _SUFFIXES.items() if name != "log"},
    "softmax": _all2all("softmax"),
    **{f"conv{suffix}": _conv(name) for suffix, name in _SUFFIXES.items() if name != "log"},
    "deconv": LayerType(Deconv, DeconvGradient, has_weights=True),
    "max_pooling": LayerType(MaxPooling, MaxPoolingGradient),
    "maxabs_pooling": LayerType(MaxAbsPooling, MaxPoolingGradient),
    "avg_pooling": LayerType(AvgPooling, AvgPoolingGradient),
    "stochastic_pooling": LayerType(StochasticPooling, StochasticPoolingGradient),
    "stochastic_abs_pooling": LayerType(partial(StochasticPooling, absolute=True), StochasticPoolingGradient),
    "depooling": LayerType(Depooling, DepoolingGradient),
    "dropout": LayerType(Dropout, DropoutGradient),
    "local_response_norm": LayerType(LocalResponseNorm, LocalResponseNormGradient),
    "batch_norm": LayerType(BatchNorm, BatchNormGradient, has_weights=True),
    **{f"activation{suffix}": _activation(name) for suffix, name in _SUFFIXES.items() if suffix},
    "activation_sincos": LayerType(SinCos, SinCosGradient),
    "activation_mul": LayerType(Multiplication, MultiplicationGradient),
    "cutter": LayerType(Cutter, CutterGradient),
    "module": LayerType(layer_of, ModuleGradient, has_weights=True),
}
