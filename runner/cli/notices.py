"""What is to be told of what was typed, once it is known that nothing is wrong with it: an error is one line."""

from __future__ import annotations

import sys

_noted: list[str] = []


def note(text: str) -> None:
    """Notes a line to be told."""
    _noted.append(text)


def tell() -> None:
    """Tells what was noted, once."""
    while _noted:
        print(f"veles-run: {_noted.pop(0)}", file=sys.stderr)
