"""The names of objects, which say when a snapshot was taken and by whom, so that few headers have to be read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from runner.snapshots.codecs import Codec
from runner.snapshots.format.header import Header
from runner.snapshots.stores.snapshot_names import PROTOCOL_MARK, stem_of

LONGEST_KEY = 1000
"""Bytes of an object's whole path: S3, Google and Azure allow 1,024 characters or bytes."""

_STAMP = re.compile(r"_(\d{8}T\d{12})_([0-9a-f]{12})_[0-9a-f]{12}\.5\.pickle")
_ROOM = 80
"""Bytes of a name for what follows its stem."""


@dataclass(frozen=True)
class Stamp:
    """What the name of an object says of its snapshot.

    Attributes:
        time: when it was taken, UTC, to the microsecond; as text it sorts by time.
        run: the mark of the process that wrote it.
    """

    time: str
    run: str

    @classmethod
    def of(cls, name: str) -> Self | None:
        """Returns the stamp in a name; None if there is none, such as after the file of a folder was copied there."""
        found = _STAMP.search(name)
        return None if found is None else cls(found[1], found[2])


def mark(id: str) -> str:
    """Returns the short form of an id that stands in names."""
    return hashlib.sha256(id.encode()).hexdigest()[:12]


def marks(ids: Collection[str] | None) -> frozenset[str] | None:
    """Returns the short forms of ids; None if any will do."""
    return None if ids is None else frozenset(map(mark, ids))


def object_name(header: Header, codec: Codec, folder: str) -> str:
    """Returns `<name>_<time>_<run>_<snapshot>.5.pickle[.codec]`.

    No other snapshot has this name, and the same snapshot always has it: to put it twice is to put it once.
    """
    time = datetime.fromisoformat(header.time).astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")
    stem = stem_of(header.name, LONGEST_KEY - len(folder.encode()) - _ROOM)
    return f"{stem}_{time}_{mark(header.run_id)}_{mark(header.uuid)}{PROTOCOL_MARK}{codec.extension}"
