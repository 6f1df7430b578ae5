"""Connection strings: their parts, and which database they refer to."""

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
"""The keys that say where a database is, in the spellings of all drivers. All other keys say how to connect."""


def parts(text: str) -> Mapping[str, str]:
    """Returns the values of a connection string by lower-case key. The first of two equal keys wins, as in driver managers."""
    if "=" not in text:
        return {"dsn": text.strip()}
    found: dict[str, str] = {}
    for key, value in _PART.findall(text):
        plain = value[1:-1].replace("}}", "}") if value.startswith("{") and value.endswith("}") else value
        found.setdefault(key.lower(), plain)
    return found


def identity(text: str, folder: Path) -> str:
    """Identifies the database of a connection string, regardless of its spelling, the user and the options.

    Args:
        text: the connection string.
        folder: where a relative path of a database file starts.
    """
    values = parts(text)
    place = {_PLACE[key]: value for key, value in values.items() if key in _PLACE}
    if is_sqlite(text) and "database" in place:
        place["database"] = str((folder / place["database"]).resolve())
    return ";".join(f"{key}={value.lower() if key == 'server' else value}" for key, value in sorted(place.items()))


def is_sqlite(text: str) -> bool:
    """Whether a connection string names SQLite's driver. The driver of a data source is not known here."""
    return "sqlite" in parts(text).get("driver", "").lower()
