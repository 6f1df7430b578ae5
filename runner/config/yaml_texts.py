"""Texts as a conf file has them: YAML makes a number of `2024_01_02`, and a truth value of `true`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import grammar_parser
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import GrammarParseError

from runner.checks import first_line
from runner.config.schema_keys import Kind, is_section, kind
from runner.errors import ConfigError
from runner.flat import is_reference

_MERGE = "tag:yaml.org,2002:merge"


def as_written(content: Any, path: str | Path) -> Any:
    """Returns the content of a conf file, in which the values of text keys are texts. Only `null` is none.

    Args:
        content: what YAML makes of the file.
        path: the file.

    Raises:
        ConfigError: a number is written in base 8 or 60, as in `020` and `1:30`, or a section has a value instead of keys.
    """
    root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=get_yaml_loader())
    if root is None:
        return content
    try:
        return _as_written(content, root, "")
    except _WrongValueError as error:
        raise ConfigError(f"{_place(path, error.node)}: {error}") from None


def check_references(path: str | Path) -> None:
    """Raises a ConfigError if a `${...}` in a conf file is not written as a reference is."""
    root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=get_yaml_loader())
    for node in _texts(root):
        try:
            grammar_parser.parse(node.value)
        except GrammarParseError as error:
            raise ConfigError(
                f"{_place(path, node)}: {node.value!r} is not a reference, such as ${{KEY}} or ${{oc.env:NAME}}"
                f" ({first_line(error)}); \\${{ begins a text"
            ) from error


def _place(path: str | Path, node: yaml.Node) -> str:
    mark = node.start_mark
    return f"{os.path.relpath(path)}:{mark.line + 1}:{mark.column + 1}"


def _texts(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for _, below in node.value:
            yield from _texts(below)
    elif isinstance(node, yaml.SequenceNode):
        for below in node.value:
            yield from _texts(below)


class _WrongValueError(Exception):
    """A value cannot be what whoever has written it means."""

    def __init__(self, node: yaml.Node, fault: str) -> None:
        super().__init__(fault)
        self.node = node


def _as_written(value: Any, node: yaml.Node | None, key: str) -> Any:
    if node is None:  # below a key that is no text, which is told when the file is merged
        return value
    if isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        nodes = _nodes(node)
        prefix = f"{key}." if key else ""
        return {name: _as_written(item, nodes.get(name), f"{prefix}{name}") for name, item in value.items()}
    if is_section(key) and value is not None and not is_reference(value):
        raise _WrongValueError(node, f"{key} is a section with keys of its own, and not the value {value!r}")
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        return [_as_written(item, below, key) for item, below in zip(value, node.value, strict=True)]
    if type(value) not in (int, float, bool):
        return value
    if _is_text(key, value, node):
        return node.value
    if re.fullmatch(r"[-+]?(0[0-7_]*[1-9][0-7_]*|[\d_.]+:.*)", node.value):  # in base 8, and in base 60
        written = node.value
        raise _WrongValueError(node, f"YAML takes {written} for the number {value}: write {value}, or '{written}' for a text")
    return value


def _nodes(mapping: yaml.Node) -> dict[Any, yaml.Node]:
    """Returns the values of a mapping by their keys, with those that `<<` takes from other mappings."""
    if not isinstance(mapping, yaml.MappingNode):
        return {}
    merged = [below for name, below in mapping.value if name.tag == _MERGE]
    others = [one for below in merged for one in (below.value if isinstance(below, yaml.SequenceNode) else [below])]
    found: dict[Any, yaml.Node] = {}
    for other in reversed(others):  # the first counts
        found |= _nodes(other)
    return found | {name.value: below for name, below in mapping.value if name.tag != _MERGE}


def _is_text(key: str, value: Any, node: yaml.Node) -> bool:
    try:
        what = kind(key)
    except ConfigError:  # a key below one that has none, which is told when the file is merged
        return False
    return what is Kind.text or (what is Kind.column and str(value) != node.value)
