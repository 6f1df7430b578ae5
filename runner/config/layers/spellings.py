"""Other spellings of layers and of their keys: those that are still read, each with a notice, and one that is ambiguous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.config.layers.schema import LAYER_CONFIGS, MODULE
from runner.config.layers.weighted_layers import GradientConfig, MatrixGradientConfig
from runner.errors import ConfigError

TYPES = {
    "all2all_str": "all2all_relu",
    "conv_str": "conv_relu",
    "activation_str": "activation_relu",
    "norm": "local_response_norm",
}
"""VELES's names of types, with ours."""

KEYS: dict[type, dict[str, str]] = {
    GradientConfig: {
        "gradient_moment": "gradient_momentum",
        "gradient_moment_bias": "gradient_momentum_bias",
    },
    # A batch normalization, or a module, may have a `momentum` of its own.
    MatrixGradientConfig: {
        "momentum": "gradient_momentum",
        "momentum_bias": "gradient_momentum_bias",
    },
}
"""Other names of keys, by the side of the layers that understand them."""

SOFTPLUS = {f"{base}_relu": f"{base}_softplus" for base in ("all2all", "conv", "activation")}
"""Types that are ReLU here and softplus in VELES, with what VELES means by them."""


def sides(layer: Mapping[str, Any]) -> tuple[type, ...]:
    """Returns the schemas of a layer's two sides; none if its type is unknown, which is an error later on."""
    kind = layer.get("type") or (MODULE if "_target_" in layer else None)
    return LAYER_CONFIGS.get(kind, ()) if isinstance(kind, str) else ()


def keys_of(side: type) -> dict[str, str]:
    """Returns the other names of a side's keys, with ours."""
    return {key: name for schema, names in KEYS.items() if issubclass(side, schema) for key, name in names.items()}


def respelled(where: str, layer: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns a layer's flat settings in this project's words, and a notice for each word that was another.

    Raises:
        ConfigError: a key is given in both spellings, with different values.
    """
    result, notices = dict(layer), []
    kind = result.get("type")
    if isinstance(kind, str) and kind in TYPES:
        result["type"] = TYPES[kind]
        notices.append(f"{where}.type={kind} is read as {TYPES[kind]}")
    for key, name in [pair for side in sides(result) for pair in keys_of(side).items() if pair[0] in result]:
        value = result.pop(key)
        if result.setdefault(name, value) != value:
            raise ConfigError(f"{where}.{key}={value!r} and {name}={result[name]!r} contradict each other: use {name}")
        notices.append(f"{where}.{key} is read as {name}")
    return result, notices


def refuse_ambiguous(layers: Mapping[Any, Any], sign: str | None) -> None:
    """Raises a ConfigError for a type that is ReLU here and softplus in VELES, if it may be either.

    Args:
        layers: the layers by name.
        sign: what looks like VELES's; None: nothing does.
    """
    for name, layer in layers.items() if sign else ():
        kind = layer.get("type") if isinstance(layer, Mapping) else None
        if isinstance(kind, str) and kind in SOFTPLUS:
            raise ConfigError(
                f"layers.{name}.type={kind!r} is max(0, x) here, and log(1 + e^x) in VELES, whose words these seem to be"
                f" ({sign}): write {SOFTPLUS[kind]!r} for VELES's function; for max(0, x), write {sign} in this project's words"
            )
