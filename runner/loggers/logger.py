"""What a logger is, and what it is told of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.metrics import Row


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run that is logged.

    Attributes:
        name: the workflow's.
        log_id: of the run, through all its resumes (UUID).
        identity: a digest of what was asked for; one that goes on with a changed configuration is another run.
        folder: of this process's run.
        parameters: the configuration, flat, without passwords.
        overrides: what was typed.
        seed: the seed.
        versions: of Python and of packages, by name.
    """

    name: str
    log_id: str
    identity: str = ""
    folder: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The run's id for a tracker, the same after each resume. Of what a snapshot says, only a digest gets into it."""
        return hashlib.sha256(f"{self.log_id}/{self.identity}".encode("utf-8", "backslashreplace")).hexdigest()[:32]


class Logger:
    """Gets the rows of a run. It is a service: never part of a snapshot, and never what ends a run.

    This is the whole surface. What a method raises is told once, and the run goes on without the logger.
    """

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        """A run begins, or goes on.

        Args:
            run: the run.
            rows: all rows before, from the snapshot; how long they took is not known any more.
        """

    def log(self, row: Row) -> None:
        """Takes a row; the next waits until it returns."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """The run has ended as `result.json` says."""
