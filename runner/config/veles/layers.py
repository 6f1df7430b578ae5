"""The layers of VELES's dictionaries: types, keys without effect, defaults, and the rates that its adjuster sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from runner.config.layers import spellings
from runner.config.layers.network import mapping, without_arrows
from runner.config.layers.schema import LAYER_CONFIGS
from runner.config.layers.weighted_layers import GradientConfig, InitializationConfig, MatrixGradientConfig
from runner.config.veles import keys
from runner.config.veles.learning_rate import Rates
from runner.errors import ConfigError

DEFAULTS: dict[type, dict[str, Any]] = {
    InitializationConfig: {"default_stddev": "veles"},
    GradientConfig: {"weights_decay": 0.00005},
}
"""VELES's defaults that change results, by the side of the layer."""

ARROWS = {InitializationConfig: "->", GradientConfig: "<-"}
GRADIENT_KEYS = {item.name for item in fields(MatrixGradientConfig)} | spellings.KEYS[GradientConfig].keys()

WORDS = {
    *ARROWS.values(),
    *spellings.KEYS[GradientConfig],
    *keys.LAYER_MOVED,
    *keys.LAYER_DROPPED,
    *keys.LAYER_REFUSED,
    *keys.UNIT_KEYS,
}
"""Keys of a layer that are VELES's and not this project's."""

Note = Callable[[str], None]


def translate(conf: dict[str, Any], rates: Rates, is_veles: bool, note: Note) -> None:
    """Translates the layers of a conf file, in place.

    Args:
        conf: the conf file's content.
        rates: the learning rates of weights and biases that the adjuster sets.
        is_veles: whether it is a dictionary of VELES: types mean what they mean there, and what is left out has VELES's
            defaults, except for gradient descent beside an optimizer.
        note: called with a line for each key that has no effect, and for each word that is another here.

    Raises:
        ConfigError: a key that would change the results has no counterpart.
    """
    completed: tuple[type, ...] = ()
    if is_veles:
        completed = (InitializationConfig,) if conf.get("optimizer") else (InitializationConfig, GradientConfig)
    if isinstance(layers := conf.get("layers"), dict):
        for name, layer in layers.items():
            if isinstance(layer, dict):
                layers[name] = _translated(f"layers.{name}", layer, rates, completed, is_veles, note)
    if conf.get("mcdnnic_topology"):
        parameters = conf["mcdnnic_parameters"] = dict(conf.get("mcdnnic_parameters") or {})
        _clean("mcdnnic_parameters", parameters, note)
        _complete(parameters, LAYER_CONFIGS["all2all"], rates, completed)


def sign(layers: dict[str, Any]) -> str | None:
    """Returns a word in the layers of a conf file that is VELES's and not this project's, if there is one."""
    for name, layer in layers.items():
        if isinstance(layer, dict) and "_target_" not in layer:
            if layer.get("type") in list(spellings.TYPES):  # it may be anything, also what a dictionary cannot look up
                return f"layers.{name}.type={layer['type']}"
            if words := [key for key in layer if key in WORDS]:
                return f"layers.{name}.{words[0]}"
    return None


def _translated(
    where: str, layer: dict[str, Any], rates: Rates, completed: tuple[type, ...], is_veles: bool, note: Note
) -> dict[str, Any]:
    if is_veles:
        _take_type(where, layer, note)
    if "_target_" not in layer:  # the keys of a torch.nn.Module are its arguments
        if is_veles:
            _refuse_what_depends_on_the_type(where, layer)
        _clean(where, layer, note)
        if is_veles:
            _drop_rates(where, layer, note)
        _complete(layer, _sides(layer), rates, completed)
    # Without arrows, since what is typed over the file is a flat key and has to replace what the file says.
    result, notices = spellings.respelled(where, without_arrows(where, layer))
    for notice in () if is_veles else notices:
        note(notice)
    return result


def _take_type(where: str, layer: dict[str, Any], note: Note) -> None:
    """Gives a layer the type that has VELES's meaning."""
    kind = layer.get("type")
    if isinstance(kind, str) and kind in spellings.SOFTPLUS:
        layer["type"] = spellings.SOFTPLUS[kind]
        note(f"{where}.type={kind} of VELES is {layer['type']} here: log(1 + e^x)")


def _refuse_what_depends_on_the_type(where: str, layer: dict[str, Any]) -> None:
    """Raises a ConfigError for what VELES computes otherwise in layers of some type alone."""
    settings = {key: value for _, values in _places(where, layer) for key, value in values.items()}
    if layer.get("type") == "deconv" and settings.get("unsafe_padding"):
        raise ConfigError(
            f"{where}.unsafe_padding=true of VELES divides each value of a deconv by the number of kernels that hit it, which"
            " has no counterpart: choose padding and sliding that cover the image evenly, and remove it"
        )
    if layer.get("type") == "activation_mul" and settings.get("factor") is None:
        raise ConfigError(
            f"{where}.factor is missing: VELES takes 0.75 / max |x| of the first minibatch, which has no counterpart: set it"
        )


def _sides(layer: dict[str, Any]) -> tuple[type, ...]:
    """Returns the schemas of a layer's two sides, whichever way its type is spelled."""
    kind = layer.get("type")
    return spellings.sides(layer | {"type": spellings.TYPES.get(kind, kind) if isinstance(kind, str) else None})


def _drop_rates(where: str, layer: dict[str, Any], note: Note) -> None:
    """Removes the settings of gradient descent from a layer without weights, where VELES ignored them."""
    sides = _sides(layer)
    if sides and not issubclass(sides[1], GradientConfig):
        for place, settings in _places(where, layer):
            for key in [key for key in settings if key in GRADIENT_KEYS]:
                del settings[key]
                note(f"{place}.{key} of VELES has no effect: a layer of type {layer['type']!r} has no weights")


def _clean(where: str, layer: dict[str, Any], note: Note) -> None:
    """Removes VELES's keys without a counterpart from a layer."""
    for arrow in ARROWS.values():
        if arrow in layer:
            layer[arrow] = dict(mapping(f"{where}.{arrow}", layer[arrow]))
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
                raise ConfigError(f"{place}.{key} and {now} contradict each other: remove one of them")


def _complete(layer: dict[str, Any], sides: tuple[type, ...], rates: Rates, completed: tuple[type, ...]) -> None:
    """Puts VELES's defaults into a layer with weights, and the rates of its adjuster, which override the layer's own.

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
    """Yields the mappings that hold a layer's settings: the layer itself, and those below its arrows."""
    yield where, layer
    for arrow in ARROWS.values():
        if isinstance(layer.get(arrow), dict):
            yield f"{where}.{arrow}", layer[arrow]
