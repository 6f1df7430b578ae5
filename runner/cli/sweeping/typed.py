"""What is typed for a sweep and its jobs, in a form in which two ways to type the same are equal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from runner.config.identity import LIMITS, NOT_OF_THE_RUN

NOT_OF_A_SWEEP = ("sweep", "hydra")
"""Sections that say how a sweep is run, and nothing of its jobs."""


def values(overrides: Iterable[str]) -> dict[str, str]:
    """Returns the values of overrides by their keys, each as one text however it was written."""
    return {key: texts[0] for key, texts in swept_values(overrides).items()}


def swept_values(overrides: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns the values of overrides by their keys: several for a key that is swept."""
    found = dict[str, tuple[str, ...]]()
    for key, texts in (_read(text.lstrip("+")) for text in overrides):
        if key.partition(".")[0].partition("/")[0] not in NOT_OF_A_SWEEP:
            before = found.get(key, ("",))
            # A mapping is merged into what there is; anything else takes its place.
            over = (f"{was} {text}".lstrip() if text.startswith("{") else text for was in before for text in texts)
            found[key] = tuple(dict.fromkeys(over))
    return found


def settled(texts: Iterable[str]) -> list[str]:
    """Returns the overrides without those in whose place a later one of the same key stands."""
    kept = list[str]()
    for text in texts:
        key, is_value, value = text.lstrip("+").partition("=")
        if is_value and not value.startswith("{"):  # which would be merged into what there is
            kept = [other for other in kept if other.lstrip("+").partition("=")[0] != key]
        kept.append(text)
    return kept


def tells_jobs_apart(key: str) -> bool:
    """Whether another value of the key makes another job, even where it is not swept."""
    return key not in LIMITS and key.partition(".")[0] not in NOT_OF_THE_RUN


def limits(values: Mapping[str, str]) -> dict[str, str]:
    """Returns the values that say when a job ends."""
    return {key: values[key] for key in LIMITS if key in values}


@lru_cache(maxsize=100_000)
def _read(text: str) -> tuple[str, tuple[str, ...]]:
    """Returns the key of an override, and its values. What Hydra cannot read counts as it is written."""
    try:
        override = OverridesParser.create().parse_override(text)
        key = f"~{override.key_or_group}" if override.is_delete() else override.key_or_group
        return key, tuple(_values(override))
    except HydraException:
        key, _, value = text.partition("=")
        return key, (value,)


def _values(override: Override) -> Iterable[str]:
    if not override.is_sweep_override():
        return (_text(override.value()),)
    if not override.is_discrete_sweep():
        return (override.get_value_element_as_str(),)
    return [next(iter(_read(f"{override.key_or_group}={value}")[1])) for value in override.sweep_string_iterator()]


def _text(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    """Returns a value as it counts: 1.0 is 1, and whether a text was quoted makes no difference."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.text if isinstance(value, QuotedString) else value
