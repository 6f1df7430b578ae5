"""How snapshots are called in stores that keep each in a file or an object of its own."""

from __future__ import annotations

import re

from runner.text import as_name

PROTOCOL_MARK = ".5"  # the pickle protocol is part of the name, as in VELES
CURRENT = "_current"
"""The end of the name, before the protocol and the codec, under which the newest snapshot with a prefix is found."""

_IN_SPOOL = re.compile(r"(^|/)[0-9a-f]{12}/[^/]+_[0-9a-f]{8}(_[0-9]+)?\.5\.pickle[^/]*$")

_END = 64
"""Bytes kept from the end of a stem that is too long: the errors, or what makes it unique in a spool."""


def may_be_snapshot(name: str) -> bool:
    """Whether a file of this name may be a snapshot."""
    return ".pickle" in name and not name.startswith(".")


def may_have_waited(path: str) -> bool:
    """Whether a path looks like one in a spool, from where a snapshot goes on to its store."""
    return _IN_SPOOL.search(path) is not None


def stem_of(name: str, longest: int) -> str:
    """Returns a valid name: without slashes, not hidden, safe to show, and cut in its middle to so many bytes."""
    name = as_name(re.sub(r"[/\\]", "_", name))
    name = f"_{name[1:]}" if name.startswith(".") else name
    data = name.encode()
    return name if len(data) <= longest else (data[: longest - _END] + data[-_END:]).decode(errors="ignore")
