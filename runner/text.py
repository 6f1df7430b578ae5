"""Text that came from elsewhere, made safe to show.

Names and messages in a snapshot, a data file or a database are somebody else's. Sent to a terminal as they are, they could
clear the screen, fill the clipboard, forge a line of the log, or turn what follows back to front. So they are shown as `repr`
would show them: what cannot be printed becomes `\\x1b`, `\\u202e` and the like.
"""

from __future__ import annotations


def shown(text: object) -> str:
    """Returns the text on one line: control and format characters, line breaks and lone surrogates are escaped."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def shown_lines(text: object) -> str:
    """Returns the text with its line breaks, for messages of our own that have several lines; all else is escaped."""
    return "\n".join(map(shown, str(text).split("\n")))


def as_name(text: str) -> str:
    """Returns the text as a name for a file or a row: a character that cannot be printed becomes `_`."""
    return "".join(character if character.isprintable() else "_" for character in text)


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
