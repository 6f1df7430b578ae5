"""The layers of VELES's dictionaries: its keys without effect, its defaults, and the rates that its adjuster sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from runner.config.layers.schema import LAYER_CONFIGS
from runner.config.layers.weighted_layers import FillingConfig, GradientConfig, MatrixGradientConfig
from runner.config.veles import keys
from runner.config.veles.learning_rate import Rates
from runner.errors import ConfigError

DEFAULTS: dict[type, dict[str, Any]] = {
    FillingConfig: {"default_stddev": "veles"},
    GradientConfig: {"weights_decay": 0.00005},
}
"""What VELES takes where a layer does not say it, by the side that it belongs to."""

ARROWS = {FillingConfig: "->", GradientConfig: "<-"}
GRADIENT_KEYS = frozenset(item.name for item in fields(MatrixGradientConfig))

Note = Callable[[str], None]


def translate(conf: dict[str, Any], rates: Rates, is_veles: bool, note: Note) -> None:
    """Brings the layers of a conf file into this project's keys, in place.

    Args:
        conf: the conf file's content.
        rates: the learning rates of weights and biases that the adjuster sets.
        is_veles: whether what is left out has VELES's defaults; beside an optimizer there are none for gradient descent.
        note: called with a line for each key that has no effect.

    Raises:
        ConfigError: a key that would change the results has no counterpart.
    """
    completed: tuple[type, ...] = ()
    if is_veles:
        completed = (FillingConfig,) if conf.get("optimizer") else (FillingConfig, GradientConfig)
    layers = conf.get("layers")
    for name, layer in layers.items() if isinstance(layers, dict) else ():
        if isinstance(layer, dict) and "_target_" not in layer:  # the keys of a torch.nn.Module are its arguments
            _clean(f"layers.{name}", layer, note)
            if is_veles:
                _drop_rates(f"layers.{name}", layer, note)
            _complete(layer, _sides(layer), rates, completed)
    if conf.get("mcdnnic_topology"):
        parameters = conf["mcdnnic_parameters"] = dict(conf.get("mcdnnic_parameters") or {})
        _clean("mcdnnic_parameters", parameters, note)
        _complete(parameters, LAYER_CONFIGS["all2all"], rates, completed)


def _drop_rates(where: str, layer: dict[str, Any], note: Note) -> None:
    """Takes the settings of gradient descent out of a layer without weights; VELES passed them on to nobody."""
    sides = _sides(layer)
    if sides and not issubclass(sides[1], GradientConfig):
        for place, settings in _places(where, layer):
            for key in GRADIENT_KEYS & settings.keys():
                del settings[key]
                note(f"{place}.{key} of VELES has no effect: a layer of type {layer['type']!r} has no weights")


def _sides(layer: dict[str, Any]) -> tuple[type, ...]:
    """Returns the schemas of a layer's two sides; none if its type is unknown, which is an error later on."""
    kind = layer.get("type")
    return LAYER_CONFIGS.get(kind, ()) if isinstance(kind, str) else ()


def _clean(where: str, layer: dict[str, Any], note: Note) -> None:
    """Takes VELES's keys without a counterpart out of a layer."""
    for arrow in ARROWS.values():
        if isinstance(layer.get(arrow), dict):
            layer[arrow] = dict(layer[arrow])
    for place, settings in _places(where, layer):
        for key in set(settings) & keys.LAYER_REFUSED.keys():
            neutral, instead = keys.LAYER_REFUSED[key]
            keys.refuse(f"{place}.{key}", settings.pop(key), neutral, instead)
        for key, why in (keys.LAYER_DROPPED | keys.UNIT_KEYS).items():
            if key in settings:
                del settings[key]
                note(f"{place}.{key} of VELES has no effect: {why}")
        for key, now in keys.LAYER_MOVED.items():
            if key in settings and settings.setdefault(now, settings[key]) != settings.pop(key):
                raise ConfigError(f"{place}.{key} and {now} contradict one another: take one of them away")


def _complete(layer: dict[str, Any], sides: tuple[type, ...], rates: Rates, completed: tuple[type, ...]) -> None:
    """Puts VELES's defaults into a layer with weights, and the rates of its adjuster, which go before the layer's own.

    Args:
        layer: the layer's settings.
        sides: the schemas of its sides.
        rates: of weights and biases; those that are None stay as they are.
        completed: the schemas whose defaults are VELES's.
    """
    given = {key for _, settings in _places("", layer) for key in settings}
    for schema, defaults in DEFAULTS.items():
        if not any(issubclass(side, schema) for side in sides):
            continue
        own = {key: value for key, value in defaults.items() if schema in completed and key not in given}
        if schema is GradientConfig:
            adjusted = zip(("learning_rate", "learning_rate_bias"), rates, strict=True)
            own |= {key: rate for key, rate in adjusted if rate is not None}
        for key in own:
            layer.pop(key, None)
        if own:
            arrow = ARROWS[schema]
            layer[arrow] = {**(layer.get(arrow) or {}), **own}


def _places(where: str, layer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the mappings that hold a layer's settings: the layer itself, and what is below its arrows."""
    yield where, layer
    for arrow in ARROWS.values():
        if isinstance(layer.get(arrow), dict):
            yield f"{where}.{arrow}", layer[arrow]
