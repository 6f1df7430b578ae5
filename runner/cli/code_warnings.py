"""What libraries and the user's own code warn of (`warnings.warn`): one line each, once, on the screen and in the log."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from typing import TextIO

from runner import places
from runner.text import shown

log = logging.getLogger(__name__)


def show_as_lines() -> None:
    """Has Python's warnings told as lines of the log; Python itself would print the line of code, too, and to no log."""
    warnings.showwarning = _show


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if file is None:
        _tell(str(message), category.__name__, filename, lineno)
    else:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))


@lru_cache(maxsize=1000)  # once: Python forgets what it has shown whenever its filters change
def _tell(text: str, category: str, filename: str, lineno: int) -> None:
    log.warning("%s: %s (%s)", category, shown(" ".join(text.split())), places.place(filename, lineno))
