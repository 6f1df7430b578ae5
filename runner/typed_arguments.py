"""Values of a configuration as arguments of a constructor, whose annotations say what it takes."""

from __future__ import annotations

import re
import typing
from enum import EnumType
from typing import Any

import msgspec

from runner.checks import first_line
from runner.errors import ConfigError

SIMPLE: dict[Any, tuple[type, ...]] = {int: (int,), float: (float, int), str: (str,), bool: (bool,)}
"""The types that a value may have, for each annotation that is one of these."""
_WORDS = {"array": "list", "object": "mapping"}
"""What msgspec calls in the words of JSON."""
_AS_THEY_ARE = (bytes, bytearray, memoryview)
"""Types that msgspec would make of texts."""


def hints(constructor: Any) -> dict[str, Any]:
    """Returns what each argument of a constructor is to be, where it says so, and the names in that are known."""
    try:
        return typing.get_type_hints(constructor)
    except Exception:  # a name that only a type checker imports
        return {}


def fitting(key: str, value: Any, hint: Any) -> Any:
    """Returns a value as an argument takes it: the member of an Enum for its value, a tuple for a list.

    Args:
        key: the key of the value, for messages.
        value: the value.
        hint: what it is to be. What a configuration cannot say, such as an object of a class, is not looked at.

    Raises:
        ConfigError: it is something else.
    """
    if hint in SIMPLE:
        if type(value) not in SIMPLE[hint]:
            raise ConfigError(f"{key}={value!r} must be of type {hint.__name__}")
        return value
    try:
        made = msgspec.convert(value, hint, strict=True, builtin_types=_AS_THEY_ARE, dec_hook=_unknown)
    except msgspec.ValidationError as error:
        reason = first_line(error).replace("Expected", "expected", 1)
        for word, ours in _WORDS.items():
            reason = re.sub(rf"(?<=[`| ]){word}(?=[`| ])", ours, reason)
        raise ConfigError(f"{key}={value!r} does not fit: {_none_of(hint) or reason}") from error
    except (TypeError, NotImplementedError):  # a type that nothing is known of
        return value
    if (left := _left_out(value, msgspec.to_builtins(made, enc_hook=repr))) is not None:
        raise ConfigError(f"{key}={value!r} does not fit: {left!r} is not a key of it")
    return made


def _left_out(value: Any, made: Any) -> Any:
    """Returns a key that msgspec has passed over, as it does those that a dataclass does not have; None if there is none."""
    if isinstance(value, dict) and isinstance(made, dict):
        found = (key if key not in made else _left_out(item, made[key]) for key, item in value.items())
    elif isinstance(value, list) and isinstance(made, list | tuple) and len(value) == len(made):
        found = (_left_out(*pair) for pair in zip(value, made, strict=True))
    else:
        return None
    return next((key for key in found if key is not None), None)


def _none_of(hint: Any) -> str | None:
    """Says which values there are to choose from; None if there is no choice of values."""
    if isinstance(hint, EnumType):
        members: list[Any] = list(hint)
        values = [member.value for member in members]
    elif typing.get_origin(hint) is typing.Literal:
        values = list(typing.get_args(hint))
    else:
        return None
    return f"expected one of {', '.join(map(repr, values))}"


def _unknown(kind: type, value: Any) -> Any:
    """Is asked for a value of a type that msgspec does not make."""
    if kind in _AS_THEY_ARE:
        raise ValueError(f"expected `{kind.__name__}`, got `{type(value).__name__}`")
    raise NotImplementedError
