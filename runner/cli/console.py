"""What a person sees: log lines, on a terminal in a form of their own, and tables."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.table import Table

from runner import passwords
from runner.cli import output, parallel
from runner.text import shown

if TYPE_CHECKING:
    from runner.cli.run_view import RunView
    from runner.graph import Workflow

log = logging.getLogger(__name__)
console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


IN_FILE_ONLY = {"in_file_only": True}
"""The `extra` of a log record that is not shown: the error is, at the end."""
OF_SWEEP = {"of_sweep": True}
"""The `extra` of one that tells how a sweep goes on: of jobs side by side, nothing else is shown but warnings."""
DETAIL = {"detail": True}
"""The `extra` of one that a terminal does not show: it has another form there, or a program is to read it."""


class LineHandler(logging.Handler):
    """Prints log records as lines; on a terminal some have a form of their own. Tracebacks are for the log file."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()

    def emit(self, record: logging.LogRecord) -> None:
        lowest = max(_lowest(), logging.WARNING) if _Shown.side_by_side and not hasattr(record, "of_sweep") else _lowest()
        if hasattr(record, "in_file_only") or record.levelno < lowest:
            return
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else None
        view = _Shown.view
        with suppress(Exception):  # the run does not depend on what is seen of it
            if hasattr(record, "detail") and is_live():
                return
            if view is None:
                _print(self.format(record), style)
            elif not view.show(getattr(record, "event", None)):
                view.print(self.format(record), style)


def _print(text: str, style: str | None) -> None:
    """Prints a line; of a job beside others, over the sweep's bar, which another process draws again below, in one piece."""
    with console:
        if _Shown.side_by_side and _can_be_live():
            console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        console.print(text, style=style)


class LogFile(logging.FileHandler):
    """Writes log records into a file, which may become unwritable: that is told once, and the run goes on."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", errors="backslashreplace", delay=True)
        self._failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if not parallel.here().leads and record.levelno < logging.ERROR:
            return
        try:
            super().emit(record)
        except OSError:  # the file cannot be opened; what happens later goes to handleError by itself
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        with suppress(OSError, ValueError):
            self.close()  # what could not be written must not pile up; the next record opens the file again
        if not self._failed:
            self._failed = True
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            log.warning("%s cannot be written (%s); the run goes on without it", self.baseFilename, reason)


class _Shown:
    """What is shown of runs: the view of the one that is going on, on a terminal."""

    view: RunView | None = None
    side_by_side = False


def show_sweep_alone() -> None:
    """Shows no more of jobs than one line when each begins and ends: others run beside those of this process."""
    _Shown.side_by_side = True


def _lowest() -> int:
    """Returns the lowest level that is shown. Of several processes, the first on each machine warns, and the others do not."""
    processes = parallel.here()
    if processes.leads:
        return logging.WARNING if is_quiet() else logging.NOTSET
    return logging.ERROR if processes.local_rank else logging.WARNING


def is_live() -> bool:
    """Whether somebody looks at a terminal on which lines can be drawn again.

    A notebook's `!command` has a terminal, but shows each drawing below the one before. Its kernel is known by the environment.
    """
    return not _Shown.side_by_side and _can_be_live()


def _can_be_live() -> bool:
    return (
        not is_quiet()
        and "JPY_PARENT_PID" not in os.environ
        and console.is_interactive
        and console.is_terminal
        and console.file.isatty()
    )


def to_stderr() -> None:
    """Shows everything on standard error from now on: standard output is for something else."""
    console.file = sys.stderr


def is_quiet() -> bool:
    """Whether only warnings and errors are wanted."""
    return bool(os.environ.get(output.QUIET)) or not parallel.here().leads


@contextmanager
def progress_of(workflow: Workflow) -> Iterator[None]:
    """Shows a run while the block runs, on a terminal."""
    if not is_live():
        yield
        return
    from runner.cli.run_view import RunView

    try:
        with RunView(workflow, console) as _Shown.view:
            yield
    finally:
        _Shown.view = None


def print_changes(changes: Mapping[str, tuple[Any, Any]]) -> None:
    """Prints a table of changed keys; the log file has them as lines."""
    for key, (was, now) in changes.items():
        log.info("%s is %s, and was %s", shown(key), _text(key, now), _text(key, was), extra=IN_FILE_ONLY)
    if is_quiet() or _Shown.side_by_side:
        return
    table = Table("key", "was", "now")
    for key, (was, now) in changes.items():
        table.add_row(shown(key), _text(key, was), _text(key, now))
    console.print(table)


def _text(key: str, value: Any) -> str:
    if value is None:
        return "null"
    return passwords.redact(f"{key}={shown(value)}").removeprefix(f"{key}=")
