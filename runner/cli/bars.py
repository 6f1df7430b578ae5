"""A bar of a line that fits the terminal: what matters least is left out first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from runner.cli.epoch_rows import Glyphs, seconds

BAR = "BAR"
"""Stands for the bar itself, among what is on its line."""
SHORTEST, LONGEST = 8, 40
"""Cells of a bar."""
GAP = 2
"""Blanks between what is on the line."""


def line(parts: Sequence[tuple[int, str]], done: int, total: int, width: int, glyphs: Glyphs) -> Text:
    """Returns the line.

    Args:
        parts: what is on it, each with its rank: of those above 0, the highest is left out first.
        done, total: how far the bar is filled.
        width: cells of the terminal.
        glyphs: the signs.
    """
    kept, room = list(parts), width - 1
    while _width(kept) + SHORTEST > room and (worst := max(kept))[0]:
        kept.remove(worst)
    cells = max(min(room - _width(kept), LONGEST), 0)
    filled = round(cells * done / total) if total else 0
    text = Text(no_wrap=True, overflow="crop")
    for _, part in kept:
        if part == BAR:
            text.append(glyphs.bar * filled, "cyan").append(glyphs.rest * (cells - filled), "dim")
        else:
            text.append(part)
        text.append(" " * GAP)
    return text


def _width(parts: Sequence[tuple[int, str]]) -> int:
    """Returns how many cells all but the bar has."""
    return sum(len(text) + GAP for _, text in parts) - len(BAR) - GAP


def rough(value: float) -> str:
    """Returns a time that is a guess anyway, in whole seconds."""
    return f"{value:.0f} s" if value < 59.5 else seconds(value)
