"""The layers, by their type in the configuration (`layers.NAME.type`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from runner.nn.layer import Forward, Gradient
from runner.nn.layers.all2all import All2All, All2AllGradient
from runner.nn.layers.dropout import Dropout, DropoutGradient


@dataclass(frozen=True)
class LayerType:
    """How to make the two units of a layer, each from its side of the settings."""

    forward: Callable[..., Forward]
    gradient: Callable[..., Gradient]
    has_weights: bool


def _all2all(activation: str) -> LayerType:
    return LayerType(partial(All2All, activation=activation), All2AllGradient, has_weights=True)


LAYERS: dict[str, LayerType] = {
    "all2all": _all2all("linear"),
    "all2all_tanh": _all2all("tanh"),
    "all2all_relu": _all2all("relu"),
    "all2all_str": _all2all("strict_relu"),
    "all2all_sigmoid": _all2all("sigmoid"),
    "softmax": _all2all("softmax"),
    "dropout": LayerType(Dropout, DropoutGradient, has_weights=False),
}
