"""The loggers of a run, as one: whatever goes wrong with one of them is told once, and costs the run nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner import passwords
from runner.checks import first_line
from runner.loggers.logger import Logger, Run
from runner.metrics import Row

log = logging.getLogger(__name__)


class LoggerGroup(Logger):
    """Hands everything on to each logger. One that raises an error gets nothing more.

    Args:
        loggers: the loggers.
    """

    def __init__(self, loggers: Iterable[Logger] = ()) -> None:
        self._loggers = list(loggers)
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def add(self, loggers: Iterable[Logger]) -> None:
        """Adds loggers, before the run begins."""
        self._loggers += loggers

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        self._begun = True
        self._each(lambda logger: logger.begin(run, rows))

    def log(self, row: Row) -> None:
        self._each(lambda logger: logger.log(row))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Ends the logging of a run that has begun."""
        if self._begun:
            self._begun = False
            self._each(lambda logger: logger.finish(result))

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in self._loggers[:]:
            try:
                call(logger)
            except Exception as error:
                self._loggers.remove(logger)
                tell(logger, error)


def tell(logger: Logger, error: Exception) -> None:
    """Says that a logger has failed."""
    what = passwords.redact(f"{type(error).__name__}: {first_line(error)}")
    log.warning("%s has failed (%s); the run goes on without it", type(logger).__name__, what)
