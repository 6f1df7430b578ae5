"""Columns of text: each distinct text once, and for each row which one it has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.datasets.cell_numbers import is_number
from runner.errors import ConfigError

Codes = npt.NDArray[np.int64]


INVISIBLE = "\u200b\u2060\ufeff"
"""Blanks without width, which come with texts from web pages, and byte order marks of files that were joined."""


def trimmed(text: str) -> str:
    """Returns a text without the white space around it, whether it has a width or not."""
    text = text.strip()
    while not text.isascii() and (inner := text.strip(INVISIBLE).strip()) != text:
        text = inner
    return text


def check_apart(where: str, known: Iterable[str], new: Iterable[str]) -> None:
    """Raises a ConfigError if a new name looks like another one, and is not.

    They differ in white space, or in how Unicode composes a letter: `é` is one character, or two. A Mac makes two of it in the
    names of files, and a person sees no difference.

    Args:
        where: what has the names, for the message.
        known: names that are there already.
        new: further ones.
    """
    seen = {_as_seen(name): name for name in known}
    for name in new:
        other = seen.setdefault(_as_seen(name), name)
        if other != name:
            raise ConfigError(f"{where}: {name!a} and {other!a} look the same: give them one name, or names that differ")


def _as_seen(name: str) -> str:
    return unicodedata.normalize("NFC", trimmed(name))


class Texts:
    """A column of text. White space around a text does not count.

    Attributes:
        names: the distinct texts, in the order of their first rows.
        codes: for each row the index of its text.
    """

    def __init__(self, rows: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._parts: list[Codes] = [np.empty(0, np.int64)]
        self.extend(rows)

    def extend(self, rows: Iterable[str]) -> None:
        """Appends the texts of some rows."""
        self._parts.append(np.fromiter(map(self._number, rows), np.int64))

    def extend_coded(self, names: Iterable[str], codes: npt.NDArray[Any]) -> None:
        """Appends rows that come as distinct texts and their indices."""
        numbers = np.fromiter(map(self._number, names), np.int64)
        self._parts.append(numbers[codes])

    def _number(self, text: str) -> int:
        text = text.strip()
        if not text.isascii():
            text = trimmed(text)
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    @property
    def codes(self) -> Codes:
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def renumbered(self, names: list[str]) -> Codes:
        """Returns for each row the index of its text in `names`, which has them all."""
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers[name] for name in self.names], np.int64)[self.codes]

    def taken(self, begin: int, end: int) -> Texts:
        """Returns some of the rows, with the texts that they have."""
        found, codes = np.unique(self.codes[begin:end], return_inverse=True)
        names, texts = self.names, Texts()
        texts.extend_coded([names[code] for code in found], codes)
        return texts

    def row_of(self, name: str) -> int:
        """Returns the first row that has a text."""
        return int(np.argmax(self.codes == self._numbers[name]))

    def first_text(self) -> str | None:
        """Returns the first text that is not a number, or None."""
        return next((name for name in self._numbers if not is_number(name)), None)
