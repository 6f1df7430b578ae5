"""Where a snapshot in a database is, as one line of text."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import unquote

from runner import passwords
from runner.errors import ConfigError

SCHEME = "odbc://"
DEFAULT_TABLE = "veles"

_SHAPE = re.compile(r"(?s)odbc://(.+)&([^&]*)&([0-9A-Fa-f-]+)&([0-9A-Fa-f-]*)(?:&([^&]+))?")
_TO_ESCAPE = re.compile(r"[^\w.~+-]")
"""What is not a letter or a digit of any script, nor means nothing to a shell, to Hydra and to a location."""


@dataclass(frozen=True)
class Location:
    """`odbc://<connection string>&<table>&<id>&<log id>[&<name>]`, the name percent-encoded.

    Attributes:
        odbc: the connection string, its passwords masked.
        table: the table.
        id: the process that wrote it, or how its id begins.
        log_id: the run it belongs to, or how its id begins.
        name: the snapshot's name; empty for the newest.
    """

    odbc: str
    table: str
    id: str
    log_id: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Location:
        """Reads a location: an empty table means `veles`, an empty log id the id.

        Raises:
            ConfigError: a part is missing.
        """
        if (found := _SHAPE.fullmatch(text)) is None:
            raise ConfigError(
                f"{passwords.redact(text)!r} is not the place of a snapshot in a database:"
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
    """Returns the location of a snapshot without passwords; that of a file is left as it is.

    Raises:
        ConfigError: it begins with `odbc://` and is no such location.
    """
    return str(Location.parse(location)) if location.startswith(SCHEME) else location


def option_for(place: str) -> str:
    """Returns the option of the command line that names a store's place."""
    if place.startswith(SCHEME):
        odbc, _, table = place.removeprefix(SCHEME).rpartition("&")
        return f"snapshotter.odbc={shlex.quote(odbc)}" + (f" snapshotter.table={table}" if table != DEFAULT_TABLE else "")
    return f"snapshotter.directory={shlex.quote(place)}"
