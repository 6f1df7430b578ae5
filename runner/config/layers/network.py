"""The layers of a network, in either form of the configuration, as checked settings by name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from runner.checks import choices, first_line, known, meant
from runner.config.layers import spellings
from runner.config.layers.schema import LAYER_CONFIGS, MODULE
from runner.errors import ConfigError
from runner.flat import is_reference
from runner.misfits import MISFITS

log = logging.getLogger(__name__)

_KNOWN: dict[tuple[type, str], dict[str, Any]] = {}
"""Plain settings that were checked, by their schema and as they are written."""
ARROWS = ("->", "<-")
"""Where VELES's form has the settings of the forward and of the backward side."""


def normalized_layers(
    layers: Any, defaults: Mapping[str, Any] | None = None, typed: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Returns checked layers by name, from first to last, each as a flat mapping of its settings.

    All settings of the forward side are there; of the backward side only those that are given, since an optimizer may take
    their place.

    VELES's form is understood: a list of mappings with `type`, `->`, `<-` and `name`.

    Args:
        layers: the layers, by name or in VELES's form.
        defaults: settings for each layer that takes them and has none of its own.
        typed: those of them that were typed, and so have to count for a layer; others may be overridden everywhere.

    Raises:
        ConfigError: no layer takes a default, or one that was typed counts for none; a layer is of an unknown type, or of one
            that means something else in VELES's form; or it has an unknown key or a wrong value.
    """
    if isinstance(layers, DictConfig | ListConfig):
        layers = OmegaConf.to_container(layers)
    layers = layers if isinstance(layers, Mapping) else named_layers(() if layers is None else layers)
    spellings.refuse_ambiguous(layers, arrow_in(layers.values()))
    for name, settings in layers.items():
        if isinstance(settings, Mapping) and settings.get("type") is None and "_target_" not in settings:
            others = [key for key, value in layers.items() if isinstance(value, Mapping) and value.get("type")]
            among = f", or name one of the layers {known(others)}" if others else ""
            raise ConfigError(f"layers.{name} has no type: {meant(name, others)}give layers.{name}.type{among}")
    left = dict(defaults or {})
    result = {str(name): _layer(str(name), settings, defaults or {}, left) for name, settings in layers.items()}
    keys = {key for settings in result.values() for side in LAYER_CONFIGS[settings["type"]] for key in _names(side)}
    if unused := [key for key in left if key in typed or key not in keys]:
        why = f"each layer has its own: layers.NAME.{min(unused)}" if min(unused) in keys else "no layer takes it"
        close = "" if min(unused) in keys else meant(min(unused), keys)
        raise ConfigError(f"layer_defaults.{min(unused)} changes nothing: {f'{why}; {close}'.rstrip('; ')}")
    return result


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
        ConfigError: it is not a list of mappings, or two layers have one name.
    """
    if not isinstance(layers, list | tuple):
        raise ConfigError(f"layers={layers!r} must be a mapping from names to settings, or a list of mappings with a type")
    named: dict[str, Mapping[str, Any]] = {}
    for number, layer in enumerate(layers, 1):
        if not isinstance(layer, Mapping):
            raise ConfigError(f"layers has {layer!r}, which is not a mapping with a type")
        name = str(layer.get("name") or f"{layer.get('type')}{number}")
        if name in named:
            raise ConfigError(f"layers has two layers named {name!r}: give each its own name")
        named[name] = {key: value for key, value in layer.items() if key != "name"}
    return named


def arrow_in(layers: Iterable[Any]) -> str | None:
    """Returns the arrow that one of the layers has, if any does."""
    found = (arrow for layer in layers if isinstance(layer, Mapping) for arrow in ARROWS if arrow in layer)
    return next(found, None)


def without_arrows(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a layer's settings with those below `->` and `<-` among the others, which go before.

    Raises:
        ConfigError: something other than a mapping is below an arrow.
    """
    flat = dict(settings)
    for arrow in ARROWS:
        flat = dict(mapping(f"{where}.{arrow}", flat.pop(arrow, None))) | flat
    return flat


@cache
def _say(notice: str) -> None:
    """Logs a notice once: layers are normalized several times on their way into a run."""
    log.warning("%s", notice)


def _layer(name: str, settings: Any, defaults: Mapping[str, Any], left: dict[str, Any]) -> dict[str, Any]:
    """Returns a layer's settings; takes the defaults that count for it out of those that are left."""
    where = f"layers.{name}"
    given = dict(mapping(where, settings))
    given["type"] = given.get("type") or (MODULE if "_target_" in given else None)
    flat, notices = spellings.respelled(where, without_arrows(where, given))
    for notice in notices:
        _say(notice)
    names = [key for side in LAYER_CONFIGS.get(str(flat["type"]), ()) for key in _names(side)]
    taken = [key for key in names if key in defaults and key not in flat]
    for key in taken:
        left.pop(key, None)
    return _completed(where, {key: defaults[key] for key in taken} | flat)


def _completed(where: str, flat: dict[str, Any]) -> dict[str, Any]:
    """Returns a layer's flat settings with their types checked and the defaults filled in."""
    kind = flat.pop("type")
    if not isinstance(kind, str) or kind not in LAYER_CONFIGS:
        raise ConfigError(f"{where}.type={kind!r} is not a type of layer; {choices(kind, LAYER_CONFIGS)}")
    merged: dict[str, Any] = {"type": kind}
    sides = LAYER_CONFIGS[kind]
    given = [{key: flat.pop(key) for key in _names(side) if key in flat} for side in sides]
    forward, backward = (_checked(where, side, values) for side, values in zip(sides, given, strict=True))
    merged |= forward | {key: value for key, value in backward.items() if key in given[1]}
    if kind == MODULE:
        return merged | {str(key): value for key, value in flat.items()}
    if flat:
        keys, wrong = [key for side in sides for key in _names(side)], min(map(str, flat))
        raise ConfigError(f"{where}.{wrong} is not a key of a {kind!r} layer; {choices(wrong, keys)}")
    return merged


def mapping(where: str, value: Any) -> Mapping[Any, Any]:
    """Returns a mapping, an empty one for None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where}={value!r} must be a mapping of settings")
    return value or {}


def _checked(where: str, schema: type, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values with their types checked and the defaults filled in.

    A run needs those of each layer several times, which OmegaConf is slow to check: what is plain is checked once.
    """
    if not all(value is None or type(value) in (bool, int, float, str) for value in values.values()):
        return _typed(where, schema, values)
    written = schema, repr(values)
    if written not in _KNOWN:
        _KNOWN[written] = _typed(where, schema, values)
    return copy.deepcopy(_KNOWN[written])


def _typed(where: str, schema: type, values: dict[str, Any]) -> dict[str, Any]:
    node = OmegaConf.structured(schema)
    elsewhere = {key: value for key, value in values.items() if is_reference(value)}  # checked with what they lead to
    for key, value in values.items():
        if key in elsewhere:
            continue
        try:
            OmegaConf.update(node, key, value)
        except MISFITS as error:
            if value is None:
                raise ConfigError(f"{where}.{key} needs a value, and null is none") from error
            raise ConfigError(f"{where}.{key}={value!r} is wrong: {first_line(error)}") from error
    try:
        if not elsewhere:
            OmegaConf.to_object(node)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return container | elsewhere


def _names(schema: type) -> list[str]:
    return [item.name for item in fields(schema)]


def _pick(schema: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _names(schema) if name in values}
