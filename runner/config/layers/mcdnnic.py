"""VELES's short form of a network: `28x28-32C4-MP2-64C4-MP2-800N-10N`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from runner.config.layers import spellings
from runner.config.layers.schema import LAYER_CONFIGS
from runner.errors import ConfigError

_INPUT = re.compile(r"\d+x\d+(x\d+)?")
_PART = re.compile(r"(?P<kernels>\d+)C(?P<side>\d+)|MP(?P<window>\d+)|(?P<outputs>\d+)N")


def mcdnnic_layers(topology: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Returns the layers of a topology as a list in VELES's form.

    `32C4` is a convolution with 32 kernels of 4 x 4, `MP2` max pooling of 2 x 2, `800N` a fully connected layer with 800
    outputs; the last part is the softmax layer. The size of the input comes first, and is not used: the data have it.

    Args:
        topology: the parts.
        parameters: settings below `->` and `<-`, for all layers that have them.

    Raises:
        ConfigError: a part is something else, or a setting belongs to none of the layers.
    """
    first, *parts = topology.split("-")
    if not _INPUT.fullmatch(first) or not parts:
        raise ConfigError(f"mcdnnic_topology={topology!r} must be like 28x28-32C4-MP2-64C4-MP2-800N-10N")
    layers = [_layer(topology, part) for part in parts]
    if layers[-1]["type"] != "all2all":
        raise ConfigError(f"mcdnnic_topology={topology!r} must end with the softmax layer, such as 10N")
    layers[-1]["type"] = "softmax"
    left = {(arrow, key) for arrow, settings in (parameters or {}).items() for key in settings}
    for layer in layers:
        for arrow, side in zip(("->", "<-"), LAYER_CONFIGS[layer["type"]], strict=True):
            names = {item.name for item in fields(side)} | spellings.keys_of(side).keys()
            settings = {key: value for key, value in ((parameters or {}).get(arrow) or {}).items() if key in names}
            left -= {(arrow, key) for key in settings}
            layer[arrow] = settings | layer.get(arrow, {})
    if left:
        arrow, key = min(left)
        raise ConfigError(f"mcdnnic_parameters.{arrow}.{key} is a setting of none of the layers")
    return layers


def _layer(topology: str, part: str) -> dict[str, Any]:
    found = _PART.fullmatch(part)
    if found is None:
        raise ConfigError(f"mcdnnic_topology={topology!r} has {part!r}, which is none of 32C4, MP2 and 800N")
    sizes = {key: int(value) for key, value in found.groupdict().items() if value}
    match sizes:
        case {"kernels": kernels, "side": side}:
            return {"type": "conv", "->": {"n_kernels": kernels, "kx": side, "ky": side}}
        case {"window": window}:
            return {"type": "max_pooling", "->": {"kx": window, "ky": window}}
        case _:
            return {"type": "all2all", "->": {"output_sample_shape": sizes["outputs"]}}
