"""Connection strings: their parts, and what they lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_PART = re.compile(r"\s*([^=;]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*?)\s*(?:;|$)")
_PLACE = {
    "dsn": "dsn",
    **dict.fromkeys(("server", "servername", "host", "hostname"), "server"),
    **dict.fromkeys(("database", "db", "dbname", "initial catalog"), "database"),
    "port": "port",
    "socket": "socket",
}
"""The keys that say where a database is, by the spellings of the drivers; all others say how to come there."""


def parts(text: str) -> Mapping[str, str]:
    """Returns the values of a connection string by their keys in lower case; of two, the first, as a driver manager does."""
    if "=" not in text:
        return {"dsn": text.strip()}
    found: dict[str, str] = {}
    for key, value in _PART.findall(text):
        plain = value[1:-1].replace("}}", "}") if value.startswith("{") and value.endswith("}") else value
        found.setdefault(key.lower(), plain)
    return found


def identity(text: str, folder: Path) -> str:
    """Returns what a connection string leads to, without who connects and how: the same for all its spellings.

    Args:
        text: the connection string.
        folder: where the relative path of a database in a file begins.
    """
    values = parts(text)
    place = {_PLACE[key]: value for key, value in values.items() if key in _PLACE}
    if is_sqlite(text) and "database" in place:
        place["database"] = str((folder / place["database"]).resolve())
    return ";".join(f"{key}={value.lower() if key == 'server' else value}" for key, value in sorted(place.items()))


def is_sqlite(text: str) -> bool:
    """Whether the driver that a connection string names is SQLite's; that of a data source is not known here."""
    return "sqlite" in parts(text).get("driver", "").lower()
