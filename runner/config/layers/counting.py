"""Settings of layers that were typed, and change nothing beside the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

from runner.config.layers.weighted_layers import MatrixGradientConfig
from runner.errors import ConfigError

_OF_BIAS = {
    "bias_filling",
    "bias_stddev",
    "learning_rate_bias",
    "weights_decay_bias",
    "gradient_momentum_bias",
    "l1_vs_l2_bias",
}

_OF_LEARNING = {item.name for item in fields(MatrixGradientConfig)}


def check(layers: Mapping[str, Mapping[str, Any]], typed: Collection[str], frozen: Collection[str]) -> None:
    """Checks the settings of layers that were typed, alone or as a default for all that take them.

    Args:
        layers: normalized ones.
        typed: all keys that were typed.
        frozen: patterns for the names of parameters that do not learn.

    Raises:
        ConfigError: one counts for no layer.
    """
    for key in typed:
        section, _, rest = key.partition(".")
        name, _, setting = rest.rpartition(".")
        if section == "layers" and name in layers:
            among = [name]
        elif section == "layer_defaults" and not name:
            among = list(layers)
        else:
            continue
        having = [name for name in among if layers[name].get(setting)]
        reasons = [_frozen(f"{name}.", setting, frozen) or _reason(setting, layers[name]) for name in having]
        if reasons and all(reasons):
            raise ConfigError(f"{key} changes nothing: {reasons[0]}; leave it out")


def _frozen(prefix: str, setting: str, patterns: Collection[str]) -> str | None:
    """Returns why a setting of how parameters learn changes nothing, if they do not learn."""
    if setting not in _OF_LEARNING:
        return None
    names = ["bias"] if setting.endswith("_bias") else ["weights", "bias"]
    if all(any(fnmatchcase(prefix + name, pattern) for pattern in patterns) for name in names):
        return "freeze keeps the parameters as they are"
    return None


def _reason(setting: str, settings: Mapping[str, Any]) -> str | None:
    """Returns why a setting changes nothing, if that is so."""
    has_bias = settings.get("include_bias", True)
    if setting in _OF_BIAS and not has_bias:
        return "the layer has no bias (include_bias=false)"
    sizes = [settings.get("weights_stddev"), *([settings.get("bias_stddev")] if has_bias else ())]
    if setting == "default_stddev" and None not in sizes:
        return "weights_stddev and bias_stddev say it"
    # That of a sweep may be 0 for some of its jobs.
    decays = settings.get("weights_decay") is not None
    bias_decays = has_bias and (decays if settings.get("weights_decay_bias", 0) is None else "weights_decay_bias" in settings)
    if setting == "l1_vs_l2" and not decays and not (bias_decays and settings.get("l1_vs_l2_bias") is None):
        return "the weights do not decay without weights_decay"
    if setting == "l1_vs_l2_bias" and not bias_decays:
        return "the bias does not decay without weights_decay_bias"
    return None
