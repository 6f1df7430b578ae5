"""Words of a command that is printed to be typed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable


def quote(word: str) -> str:
    r"""Returns the word as a shell takes it: one with a tab or another character that cannot be shown as `$'a\tb'`.

    This form is known to bash, zsh and ksh. What standard output has no letters for cannot be shown.
    """
    return shlex.quote(word) if _is_shown(word) else f"$'{''.join(map(_escaped, word))}'"


def join(words: Iterable[str]) -> str:
    """Returns a command of these words."""
    return " ".join(map(quote, words))


def _is_shown(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if _is_shown(character):
        return character
    if character < "\x80":
        return repr(character)[1:-1]
    # As bytes: what `\u` makes of a character depends on the locale of the shell.
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors=errors))
