"""Marks: what people write on snapshots. They stand beside a snapshot, which is never changed and may be signed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from runner.errors import ConfigError

LONGEST_NOTE = 10_000
"""Characters of a note."""
LIMIT = 1 << 17
"""Bytes that are read of a mark."""
_TAG = re.compile(r"[A-Za-z0-9_][\w.+-]{0,63}")


@dataclass(frozen=True)
class Mark:
    """What is written on a snapshot.

    Attributes:
        uuid: the snapshot's: a mark that another one has left under the same name does not count.
        tags: its tags.
        note: a note.
    """

    uuid: str
    tags: tuple[str, ...] = ()
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.tags or self.note)

    def written(self) -> bytes:
        """Returns the mark as it is written."""
        return json.dumps({"uuid": self.uuid, "tags": list(self.tags), "note": self.note}).encode()

    @classmethod
    def read(cls, data: bytes) -> Mark | None:
        """Returns the mark that was written; None if it is none."""
        try:
            values = json.loads(data[:LIMIT])
            tags = tuple(tag for tag in values["tags"] if isinstance(tag, str) and _TAG.fullmatch(tag))
            return cls(str(values["uuid"]), tags, str(values["note"])[:LONGEST_NOTE])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def check_tag(tag: str) -> None:
    """Raises a ConfigError for what cannot be a tag."""
    if not _TAG.fullmatch(tag):
        raise ConfigError(
            f"{tag!r} cannot be a tag: up to 64 letters, digits and _ . + -, the first of them a letter, a digit or _"
        )
