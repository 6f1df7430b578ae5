"""Translates the content of a conf file that may be a dictionary of VELES into this project's words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from runner.checks import known
from runner.config.layers.network import named_layers
from runner.config.layers.spellings import refuse_ambiguous
from runner.config.veles import keys
from runner.config.veles import layers as veles_layers
from runner.config.veles.learning_rate import adjuster
from runner.errors import ConfigError
from runner.flat import flattened

MISSING = object()
UNKNOWN = "???"
"""What stands in a dictionary for a value that `veles-run import` could not tell. OmegaConf would take the default."""

OURS = {target for target, _ in keys.MOVED.values()}
"""This project's keys among the new names: where VELES has the same name, it is not a sign of VELES."""


def translated(conf: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the content of a conf file in this project's words, and a line for each key without effect and each other word.

    `loader_name`, which VELES's StandardWorkflow demands, marks one of its dictionaries: types of layers mean what they mean
    there, and what is left out has VELES's defaults. In any other file a type that VELES gives another meaning is refused
    if something else in the file looks like VELES. Keys that are not VELES's stay as they are.

    Raises:
        ConfigError: a key that would change the results has no counterpart, a key contradicts another one, or a type of layer
            may mean either of two functions.
    """
    result = copy.deepcopy(dict(conf))
    notes: list[str] = []
    is_veles = "loader_name" in result
    sign = None if is_veles else _sign(result)
    if isinstance(result.get("layers"), list):
        # Hydra cannot address an item of a list, so `layers.fc1.learning_rate=0.1` needs names.
        result["layers"] = named_layers(result["layers"])
    if isinstance(result.get("layers"), dict):
        refuse_ambiguous(result["layers"], sign)
    if is_veles:
        _refuse_unknown("", result)
        _take_minibatch_size(result)
        _complete(result, notes.append)
        loader = _section(result, "loader")
        if not {"normalization", "normalization_type"} & loader.keys():
            loader["normalization_type"] = "none"
    _refuse(result)
    _move(result)
    rates = adjuster(result)
    veles_layers.translate(result, rates, is_veles, notes.append)
    _drop(result, notes.append)
    return result, notes


def _sign(conf: dict[str, Any]) -> str | None:
    """Returns what in a conf file looks like a dictionary of VELES, if anything does."""
    layers = conf.get("layers")
    if isinstance(layers, list):
        return "a list of layers"
    own = (f"{unit}.{key}" for unit in keys.UNITS for key in keys.UNIT_KEYS)
    found = (key for key in (*keys.MOVED, *keys.REFUSED, *keys.DROPPED, *own) if key not in OURS and _has(conf, key))
    return next(found, None) or veles_layers.sign(layers if isinstance(layers, dict) else {})


def _has(conf: dict[str, Any], key: str) -> bool:
    """Returns whether nested mappings have a key such as `loader.mirror`."""
    holder: Any = conf
    for name in key.split("."):
        if not isinstance(holder, dict) or name not in holder:
            return False
        holder = holder[name]
    return True


def _refuse_unknown(key: str, value: Any) -> None:
    """Raises a ConfigError for a value that still has to be written."""
    if value == UNKNOWN:
        raise ConfigError(f"{key or 'the dictionary'} is {UNKNOWN}, which stands for a value: write it, or remove the key")
    if isinstance(value, dict):
        for name, below in value.items():
            _refuse_unknown(f"{key}.{name}" if key else str(name), below)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            _refuse_unknown(f"{key}[{number}]", below)


def _take_minibatch_size(conf: dict[str, Any]) -> None:
    """Takes minibatch_size, height and width from `12x256x256-32C4-...`, as VELES does."""
    sizes = str(conf.get("mcdnnic_topology") or "").partition("-")[0].split("x")
    if len(sizes) == 3 and all(part.isdecimal() for part in sizes):
        loader = _section(conf, "loader")
        loader["minibatch_size"] = int(sizes[0])
        if keys.LOADERS.get(conf["loader_name"]) == "images":
            loader["scale"] = [int(sizes[2]), int(sizes[1])]


def _complete(conf: dict[str, Any], note: Callable[[str], None]) -> None:
    """Puts VELES's defaults into the sections of the decision and the roll-back, and says where VELES does otherwise."""
    decision = _section(conf, "decision")
    given = decision.get("fail_iterations", keys.PATIENCE)
    if type(given) is int:
        # VELES stops when the epochs without an improvement are more than this many.
        if "fail_iterations" in decision:
            note(f"decision.fail_iterations={given} of VELES is {given + 1} here: the epochs after which the run stops")
        decision["fail_iterations"] = given + 1
    if "rollback" not in conf:
        return
    rollback = _section(conf, "rollback")
    if not {"minus_steps", "fail_iterations"} & rollback.keys():
        rollback["minus_steps"] = keys.MINUS_STEPS
    if "lr_plus" not in rollback:
        note("VELES's rollback.lr_plus, 1.04 unless it is given, has no counterpart: learning rates are not raised")


def _refuse(conf: dict[str, Any]) -> None:
    for key, (neutral, instead) in keys.REFUSED.items():
        value = _pop(conf, key)
        if value is not MISSING:
            keys.refuse(key, value, neutral, instead)


def _move(conf: dict[str, Any]) -> None:
    for key, (target, convert) in keys.MOVED.items():
        value = _pop(conf, key)
        if value is MISSING:
            continue
        value = convert(key, value)
        *sections, name = target.split(".")
        holder = conf
        for section in sections:
            holder = _section(holder, section)
        if holder.setdefault(name, value) != value:
            raise ConfigError(f"{key} of VELES and {target}={holder[name]!r} contradict each other: remove one of them")


def _drop(conf: dict[str, Any], note: Callable[[str], None]) -> None:
    units = {f"{unit}.{key}": why for unit in keys.UNITS for key, why in keys.UNIT_KEYS.items()}
    for key, why in (keys.DROPPED | units).items():
        if _pop(conf, key) is not MISSING:
            note(f"{key} of VELES has no effect: {why}")
    for name in ("common", "data_paths", "evaluator", "softmax"):
        _check_empty(name, conf.pop(name, None))


def _check_empty(name: str, section: Any) -> None:
    """Raises a ConfigError if anything is left of a section that has no counterpart."""
    left = flattened({name: section} if section else {})
    if left:
        names = known(key for key in (*keys.MOVED, *keys.DROPPED, *keys.REFUSED) if key.startswith(name))
        raise ConfigError(f"{min(left)} is not a key of VELES that is known here; known: {names}")


def _section(conf: dict[str, Any], name: str) -> dict[str, Any]:
    section = conf.setdefault(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{name}={section!r} must be a mapping")
    return section


def _pop(conf: dict[str, Any], key: str) -> Any:
    """Takes a key such as `loader.mirror` out of nested mappings; returns its value, or MISSING."""
    *sections, name = key.split(".")
    holder: Any = conf
    for section in sections:
        holder = holder.get(section) if isinstance(holder, dict) else None
    return holder.pop(name, MISSING) if isinstance(holder, dict) else MISSING
