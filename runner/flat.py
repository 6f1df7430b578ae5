"""Nested settings as flat ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with keys such as `layers.fc1.learning_rate`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def is_reference(value: Any) -> bool:
    """Whether a value holds a reference, to another key (`${seed}`) or to something else (`${oc.env:NAME}`)."""
    return isinstance(value, str) and "${" in value
