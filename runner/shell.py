"""Words of a command that is printed to be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def quote(word: str) -> str:
    r"""Returns the word as a shell takes it: one with a tab or another character that cannot be shown as `$'a\tb'`.

    This form is known to bash, zsh and ksh.
    """
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def join(words: Iterable[str]) -> str:
    """Returns a command of these words."""
    return " ".join(map(quote, words))


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a path that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 0x80 <= code <= 0xFF else repr(character)[1:-1]  # `\\x80` and above would be bytes
