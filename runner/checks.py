"""Checks and text helpers that many modules need."""

from __future__ import annotations

from runner.errors import ConfigError


def at_least(key: str, value: float | None, minimum: int, unit: str) -> None:
    """Raises a ConfigError if a value is below the minimum. None is always valid."""
    if value is not None and value < minimum:
        raise ConfigError(f"{key}={value} must be at least {minimum} ({unit})")


def known(names: object) -> str:
    """Returns the names as a list for the end of a message: `X is unknown; known: ...`."""
    return ", ".join(sorted(map(str, names)))  # type: ignore[call-overload]


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error message; the rest is usually about the library itself."""
    return (str(error).splitlines() or [type(error).__name__])[0]
