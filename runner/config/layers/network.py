"""The layers of a network, in either form of the configuration, as checked settings by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from runner.checks import first_line, known
from runner.config.layers.schema import LAYER_CONFIGS
from runner.errors import ConfigError

MODULE = "module"
"""The type of a layer that is a `torch.nn.Module`, whose arguments are not ours to check."""


def normalized_layers(layers: Any) -> dict[str, dict[str, Any]]:
    """Returns checked layers by name, from first to last, each as a flat mapping of its settings.

    The forward side has all of them. The backward side has those that are given: they have a meaning only where no optimizer
    takes their place.

    VELES's form is understood: a list of mappings with `type`, `->`, `<-` and `name`.

    Raises:
        ConfigError: a layer is of an unknown type, or has an unknown key or a wrong value.
    """
    if isinstance(layers, DictConfig | ListConfig):
        layers = OmegaConf.to_container(layers)
    layers = layers if isinstance(layers, Mapping) else named_layers(() if layers is None else layers)
    for name, settings in layers.items():
        if isinstance(settings, Mapping) and settings.get("type") is None and "_target_" not in settings:
            others = known(key for key, value in layers.items() if isinstance(value, Mapping) and value.get("type"))
            raise ConfigError(f"layers.{name} has no type: give layers.{name}.type, or name one of the layers {others}")
    return {str(name): _layer(str(name), settings) for name, settings in layers.items()}


def layer_sides(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the settings of the forward and of the backward side of a normalized layer."""
    forward, backward = LAYER_CONFIGS[settings["type"]]
    if settings["type"] == MODULE:
        arguments = {key: value for key, value in settings.items() if key not in ("type", *_names(backward))}
        return {MODULE: arguments}, _pick(backward, settings)
    return _pick(forward, settings), _pick(backward, settings)


def named_layers(layers: Any) -> dict[str, Mapping[str, Any]]:
    """Returns the layers of a list in VELES's form by name: their `name`, or type and position.

    Raises:
        ConfigError: no list of mappings, or two layers of one name.
    """
    if not isinstance(layers, list | tuple):
        raise ConfigError(f"layers={layers!r} must be a mapping from names to settings, or a list of mappings with a type")
    named: dict[str, Mapping[str, Any]] = {}
    for number, layer in enumerate(layers, 1):
        if not isinstance(layer, Mapping):
            raise ConfigError(f"layers has {layer!r}, which is no mapping with a type")
        name = str(layer.get("name") or f"{layer.get('type')}{number}")
        if name in named:
            raise ConfigError(f"layers has two layers named {name!r}: give each a name of its own")
        named[name] = {key: value for key, value in layer.items() if key != "name"}
    return named


def _layer(name: str, settings: Any) -> dict[str, Any]:
    flat = dict(_mapping(f"layers.{name}", settings))
    kind = flat.pop("type", None) or (MODULE if "_target_" in flat else None)
    if not isinstance(kind, str) or kind not in LAYER_CONFIGS:
        raise ConfigError(f"layers.{name}.type={kind!r} is not a type of layer; known: {known(LAYER_CONFIGS)}")
    for arrow in ("->", "<-"):
        # A flat key goes before: it may have been typed over a conf file in VELES's form.
        flat = dict(_mapping(f"layers.{name}.{arrow}", flat.pop(arrow, None))) | flat
    merged: dict[str, Any] = {"type": kind}
    sides = LAYER_CONFIGS[kind]
    given = [{key: flat.pop(key) for key in _names(side) if key in flat} for side in sides]
    forward, backward = (_checked(f"layers.{name}", side, values) for side, values in zip(sides, given, strict=True))
    merged |= forward | {key: value for key, value in backward.items() if key in given[1]}
    if kind == MODULE:
        return merged | {str(key): value for key, value in flat.items()}
    if flat:
        keys = known(key for side in sides for key in _names(side))
        raise ConfigError(f"layers.{name}.{min(map(str, flat))} is not a key of a {kind!r} layer; known: {keys}")
    return merged


def _mapping(where: str, value: Any) -> Mapping[Any, Any]:
    """Returns a mapping, an empty one for None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where}={value!r} must be a mapping of settings")
    return value or {}


def _checked(where: str, schema: type, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values with their types checked and the defaults filled in."""
    node = OmegaConf.structured(schema)
    for key, value in values.items():
        try:
            OmegaConf.update(node, key, value)
        except (OmegaConfBaseException, ConfigKeyError) as error:
            raise ConfigError(f"{where}.{key}={value!r} is wrong: {first_line(error)}") from error
    try:
        OmegaConf.to_object(node)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return container


def _names(schema: type) -> list[str]:
    return [item.name for item in fields(schema)]


def _pick(schema: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _names(schema) if name in values}
