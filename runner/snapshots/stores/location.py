"""The location of a snapshot, as one line of text, and its passwords."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from runner import passwords, shell
from runner.errors import ConfigError

SNAPSHOT_WORDS = ("latest", "auto", "best")
"""What may stand for a snapshot that is looked for."""
TAG = "tag:"
"""What a name begins with that is a tag."""
SCHEME = "odbc://"
DEFAULT_TABLE = "veles"

_SHAPE = re.compile(r"(?s)odbc://(.+)&([^&]*)&([0-9A-Fa-f-]+)&([0-9A-Fa-f-]*)(?:&([^&]+))?")
_TO_ESCAPE = re.compile(r"[^\w.~+-]")
"""Everything but letters and digits of any script, and characters without a meaning to a shell, to Hydra or in a location."""


@dataclass(frozen=True)
class Location:
    """`odbc://<connection string>&<table>&<id>&<log id>[&<name>]`, the name percent-encoded.

    Attributes:
        odbc: the connection string, with its passwords masked.
        table: the table.
        id: the id of the process that wrote the snapshot, or the beginning of it.
        log_id: the id of the run that the snapshot belongs to, or the beginning of it.
        name: the snapshot's name; empty for the newest.
    """

    odbc: str
    table: str
    id: str
    log_id: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Location:
        """Parses a location. An empty table means `veles`; an empty log id means the same as the id.

        Raises:
            ConfigError: a part is missing.
        """
        if (found := _SHAPE.fullmatch(text)) is None:
            raise ConfigError(
                f"{passwords.redact(text)!r} is not the location of a snapshot in a database:"
                " odbc://<connection string>&<table>&<id>&<log id>[&<name>]"
            )
        odbc, table, run, log, name = found.groups()
        name = unquote(name or "")
        return cls(passwords.conceal(odbc), table or DEFAULT_TABLE, run.lower(), (log or run).lower(), name)

    def __str__(self) -> str:
        parts = [self.odbc, self.table, self.id, self.log_id, *([_escaped(self.name)] if self.name else [])]
        return SCHEME + "&".join(parts)


def _escaped(name: str) -> str:
    return _TO_ESCAPE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)


def concealed(location: str) -> str:
    """Returns a location, or a place, with its passwords masked; that of a file is returned as it is.

    Raises:
        ConfigError: it begins with `odbc://` but is not a valid location.
    """
    return str(Location.parse(location)) if location.startswith(SCHEME) else passwords.without_credentials(location)


def option_for(place: str) -> str:
    """Returns the command-line option that sets a store's place."""
    if place.startswith(SCHEME):
        odbc, _, table = place.removeprefix(SCHEME).rpartition("&")
        return f"snapshotter.odbc={shell.quote(odbc)}" + (f" snapshotter.table={table}" if table != DEFAULT_TABLE else "")
    return f"snapshotter.directory={shell.quote(place)}"
