"""Checks and text helpers that many modules need."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real

from runner.errors import ConfigError

LARGEST_INTEGER = 2**63 - 1
"""The largest whole number that a snapshot keeps."""
LARGEST = 3.4e38
"""The largest number in single precision, about."""


def at_least(key: str, value: float | None, minimum: int, unit: str, *, whole: bool = True) -> None:
    """Raises a ConfigError if a value is below the minimum, beyond what a snapshot keeps, or not a (whole) number.

    None is always valid.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise ConfigError(f"{key}={value!r} must be a {'whole ' if whole else ''}number ({unit})")
    if not value >= minimum:
        raise ConfigError(f"{key}={value} must be at least {minimum} ({unit})")
    if isinstance(value, int) and value > LARGEST_INTEGER:
        raise ConfigError(f"{key}={value} must be at most 2^63 - 1 ({unit})")


def within(key: str, value: float | None, low: float = 0.0, high: float = LARGEST) -> None:
    """Raises a ConfigError if a value is below or above a limit, or not a number. None is always valid."""
    if value is not None and not (isinstance(value, Real) and low <= value <= high):
        raise ConfigError(f"{key}={value} must be between {low:g} and {high:g}")


def current_folder() -> str:
    """Returns the path of the current folder.

    Raises:
        ConfigError: it has been deleted.
    """
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder has been deleted: go to another one") from error


def known(names: object) -> str:
    """Returns the names as a list for the end of a message: `X is unknown; known: ...`."""
    return ", ".join(sorted(map(str, names)))  # type: ignore[call-overload]


def meant(given: object, names: Iterable[object]) -> str:
    """Returns `did you mean X? ` for a message, if one of the names is close to what was given; else nothing."""
    text, texts = str(given).lower(), {str(name).lower(): repr(str(name)) for name in names}
    parts = [name for name in texts if (len(text) > 2 and text in name) or is_short(text, name) or is_short(name, text)][:3]
    close = [texts[name] for name in parts or get_close_matches(text, texts, 1)]
    return f"did you mean {' or '.join(close)}? " if close else ""


def is_short(text: str, name: str) -> bool:
    """Whether a text is what people write for a name: the end of it (`epochs`), or its initials (`lr`)."""
    initials = "".join(word[:1] for word in name.split("_"))
    return name.endswith(f"_{text}") or (len(text) > 1 and text == initials)


def choices(given: object, names: Iterable[object]) -> str:
    """Returns the end of a message about an unknown name: which may be meant, and which are known."""
    names = list(names)
    return f"{meant(given, names)}known: {known(names)}"


def first_line(error: BaseException) -> str:
    """Returns the first line of a library's error message; the rest is usually about the library itself."""
    return (str(error).splitlines() or [type(error).__name__])[0]
