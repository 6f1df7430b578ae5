"""Settings of which each is one of a few words."""

from enum import Enum


class Choice(Enum):
    """A word; a text that refers to such a setting, as `${mode}` does, has the word."""

    def __str__(self) -> str:
        return str(self.value)
