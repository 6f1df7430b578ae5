"""Files of the user's that begin something: none that is there already is ever overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.text import shown


def write_new(path: Path, text: str) -> None:
    """Writes a file that is not there yet.

    Raises:
        ConfigError: it is, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{shown(path)} is there already, and is left as it is") from error
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be written: {error.strerror}") from error


def literal(value: Any) -> Any:
    """Returns a value as a conf file has it: a `${` in a text is no reference."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
