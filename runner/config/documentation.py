"""What the schema says of its own keys: the help and the manual are made of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints


class Key(NamedTuple):
    """A key of a section, as it is shown."""

    name: str
    """The key; in the help with the sections that it is in."""
    type: str
    """Its type, in words."""
    default: str
    """Its default, as a conf file has it; empty if it is a mapping."""
    meaning: str
    """What the schema says of it."""


def keys(section: type) -> Iterator[Key]:
    """Yields the keys of a section that have a description, those of its base classes first."""
    meanings = {name: text for base in reversed(section.__mro__) if is_dataclass(base) for name, text in _described(base)}
    hints = get_type_hints(section)
    for item in fields(section):
        if item.name in meanings:
            default = "" if item.default is MISSING else shown(item.default)
            yield Key(item.name, _type(hints[item.name]), default, meanings[item.name])


def shown(value: Any) -> str:
    """Returns a value as a conf file has it."""
    if value is None:
        return "null"
    if isinstance(value, Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(section: type) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(definition, ast.ClassDef)
    for statement, following in pairwise(definition.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            yield statement.target.id, " ".join(ast.literal_eval(following.value).split())


def _type(hint: Any) -> str:
    """Returns a type as people write it: `int or null`, `list of text`, `train or evaluate`."""
    if hint is Any:
        return "any"
    if get_origin(hint) in (Union, type(int | None)):
        return " or ".join("null" if option is type(None) else _type(option) for option in get_args(hint))
    if get_origin(hint) is list:
        return "list" if get_args(hint)[0] is Any else f"list of {_type(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "mapping"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(str(item.value) for item in hint)
    return {str: "text", bool: "bool"}.get(hint, getattr(hint, "__name__", str(hint)))
