"""Numbers of libraries as Python's own, which snapshots keep and JSON has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from runner.checks import LARGEST_INTEGER


def number(value: Any) -> Any:
    """Returns a number of numpy or torch, or a tensor of a single one, as Python's own; anything else as it is.

    A whole number that no snapshot keeps becomes a fraction. Lone surrogates of a text, as file names that are not UTF-8 have
    them, are escaped: `\\udcff`.
    """
    if isinstance(value, str):
        return _text(value)
    if type(value) is bool or value is None:
        return value
    if callable(item := getattr(value, "item", None)):
        try:
            value = item()
        except (ValueError, RuntimeError, TypeError):  # it has several, or none
            return value
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return int(value)
    return _fraction(value) if isinstance(value, Real) else value


def _fraction(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def for_json(value: Any) -> Any:
    """Returns a value as any reader of JSON takes it.

    Numbers that are not finite are None, and what is neither a number nor text nor a container is its text.
    """
    value = number(value)
    if isinstance(value, Mapping):
        return {_text(name): for_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else _text(value)


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()
