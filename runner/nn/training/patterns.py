"""Patterns for the names of parameters: `*.bias`, `model.trunk.*`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from runner.checks import known
from runner.errors import ConfigError


def matching(where: str, pattern: object, names: Collection[str]) -> list[str]:
    """Returns the names that a pattern matches.

    Raises:
        ConfigError: it matches none, or is no text.
    """
    found = [name for name in names if fnmatchcase(name, pattern)] if isinstance(pattern, str) else []
    if not found:
        raise ConfigError(f"{where}={pattern!r} matches no parameter; those that there are: {known(names)}")
    return found


def all_matching(where: str, patterns: Sequence[object], names: Collection[str]) -> list[str]:
    """Returns the names that any of the patterns matches; raises a ConfigError for one that matches none."""
    return list(dict.fromkeys(name for pattern in patterns for name in matching(where, pattern, names)))
