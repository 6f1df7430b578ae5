"""What a person sees: log lines, a progress bar per epoch, tables."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from runner import passwords
from runner.text import shown

if TYPE_CHECKING:
    from runner.graph import Workflow

log = logging.getLogger(__name__)
console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


IN_FILE_ONLY = {"in_file_only": True}
"""The `extra` of a log record that is not shown: the error is, at the end."""


class LineHandler(logging.Handler):
    """Prints log records as lines above the progress bar. Tracebacks are for the log file."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "in_file_only"):
            return
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else None
        with suppress(Exception):  # the run does not depend on what is seen of it
            console.print(self.format(record), style=style)


class LogFile(logging.FileHandler):
    """Writes log records into a file, which may become unwritable: that is told once, and the run goes on."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", errors="backslashreplace", delay=True)
        self._failed = False

    def emit(self, record: logging.LogRecord) -> None:
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


class EpochProgress(Progress):
    """A bar that looks by itself where the workflow stands, so that it costs the run nothing."""

    def __init__(self, workflow: Workflow) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
        )
        self.workflow = workflow
        self.shown = ""
        super().__init__(*columns, console=console, transient=True, refresh_per_second=8)
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        with suppress(Exception):  # a workflow of the user's own may not know its step at every moment
            self._look()
        return super().get_renderables()

    def _look(self) -> None:
        step = self.workflow.current_step
        if step is not None and self.task_ids:
            description, done, total = shown(step[0]), *step[1:]
            if description != self.shown:
                self.shown = description  # first: the reset comes back here
                self.reset(self.task_ids[0], total=total, completed=0, description=description)
            self.update(self.task_ids[0], completed=done)


@contextmanager
def progress_of(workflow: Workflow) -> Iterator[None]:
    """Shows a progress bar while the block runs, on a terminal."""
    if not console.is_terminal:
        yield
        return
    with EpochProgress(workflow):
        yield


def print_changes(changes: Mapping[str, tuple[Any, Any]]) -> None:
    """Prints a table of changed keys."""
    table = Table("key", "was", "now")
    for key, (was, now) in changes.items():
        table.add_row(shown(key), _text(key, was), _text(key, now))
    console.print(table)


def _text(key: str, value: Any) -> str:
    if value is None:
        return "null"
    return passwords.redact(f"{key}={shown(value)}").removeprefix(f"{key}=")
