"""Makes text from elsewhere safe to show.

Somebody else wrote the names and messages in a snapshot, a data file or a database. Sent to a terminal unchanged, they could
clear the screen, fill the clipboard, forge a log line, or reverse the text that follows. So unprintable characters are shown as
`repr` would show them: `\\x1b`, `\\u202e` and the like.
"""

from __future__ import annotations


def shown(text: object) -> str:
    """Returns the text on one line, with control and format characters, line breaks and lone surrogates escaped."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def shown_lines(text: object) -> str:
    """Returns the text with its line breaks, for our own messages of several lines; all else is escaped."""
    return "\n".join(map(shown, str(text).split("\n")))


def as_name(text: str) -> str:
    """Returns the text as a name for a file or a row: unprintable characters become `_`."""
    return "".join(character if character.isprintable() else "_" for character in text)


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
