"""`veles-run NAME --help`: every key of a conf with its type, its value there, and what it means."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hydra import compose, initialize
from omegaconf import DictConfig, ListConfig, OmegaConf

from runner.cli import conf_files
from runner.config import Config, checked_layers
from runner.config.config import WorkflowConfig
from runner.config.documentation import Key, keys, shown
from runner.config.layers.schema import LAYER_CONFIGS
from runner.config.layers.weighted_layers import MatrixGradientConfig


def composed(arguments: Sequence[str]) -> DictConfig:
    """Returns the configuration that a run with these overrides would have.

    Raises:
        HydraException: there is none.
    """
    with initialize(config_path=None, version_base="1.3"):
        return compose(conf_files.PRIMARY, list(arguments))


def text(arguments: Sequence[str]) -> str:
    """Returns the help for what is typed."""
    node = composed(arguments)
    width = max(shutil.get_terminal_size((120, 24)).columns, 60)
    lines = [f"veles-run {' '.join(arguments)}: its keys, each with its type, its value there, and what it means.", ""]
    for key, value in described(node):
        lines.append(f"{key.name}={value}   ({key.type})")
        lines += textwrap.wrap(key.meaning, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([*lines, "", "All of it as YAML: veles-run NAME --cfg job. What else there is: docs/configuration.md."])


def described(node: DictConfig) -> Iterator[tuple[Key, str]]:
    """Yields the keys of a configuration with their full names, and the values that they have in it."""
    hints = get_type_hints(Config)
    about = {key.name: key for key in keys(Config)}
    for item in fields(Config):
        hint = WorkflowConfig if item.name == "workflow" else hints[item.name]
        if item.name == "layers":
            yield from _layers(node)
        elif is_dataclass(hint):
            yield from _section(f"{item.name}.", hint, node[item.name])
        else:
            yield about[item.name], _value(node, item.name)


def _section(prefix: str, schema: type, node: Any) -> Iterator[tuple[Key, str]]:
    for key in keys(schema):
        yield key._replace(name=f"{prefix}{key.name}"), _value(node, key.name)


def _layers(node: DictConfig) -> Iterator[tuple[Key, str]]:
    of_optimizer = {item.name for item in fields(MatrixGradientConfig)} if node.optimizer else set()
    for name, settings in checked_layers(node).items():
        known = (key for side in LAYER_CONFIGS[settings["type"]] for key in keys(side))
        meanings = {key.name: key for key in known if key.name not in of_optimizer}
        yield Key(f"layers.{name}.type", "text", "", "Type of the layer."), settings["type"]
        for key in meanings.values():
            yield key._replace(name=f"layers.{name}.{key.name}"), shown(settings.get(key.name, key.default))


def _value(node: Any, name: str) -> str:
    value = node._get_node(name) if isinstance(node, DictConfig) else None
    if isinstance(value, DictConfig | ListConfig) and not value._is_none():
        return str(OmegaConf.to_container(value, resolve=False))
    return shown(None if value is None else value._value())
