"""Checks and texts that many modules need."""

from __future__ import annotations

from runner.errors import ConfigError


def at_least(key: str, value: float | None, minimum: int, unit: str) -> None:
    """Raises a ConfigError if a value is given and below the minimum."""
    if value is not None and value < minimum:
        raise ConfigError(f"{key}={value} must be at least {minimum} ({unit})")


def known(names: object) -> str:
    """Returns the names as they are listed at the end of an "unknown X" message."""
    return ", ".join(sorted(map(str, names)))  # type: ignore[call-overload]


def first_line(error: Exception) -> str:
    """Returns what an error of a library says first; the rest is about the library."""
    return (str(error).splitlines() or [type(error).__name__])[0]
