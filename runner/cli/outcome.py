"""How a job ended: what sweeps minimize, the exit code, and what a failure is shown as."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hydra.core.hydra_config import HydraConfig
from omegaconf.errors import InterpolationResolutionError

from runner import places
from runner.checks import first_line
from runner.cli import console, run_folder
from runner.cli.request import relative
from runner.errors import ConfigError, RunError, RunnerError

log = logging.getLogger(__name__)

_TRACEBACK = "traceback: "
"""How the note on an error begins that says where its traceback is."""
_NOT_EXACT = "does not have a deterministic implementation"
"""What torch says of an operation whose results on a GPU differ from time to time."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what sweeps minimize, such as the best validation error, and the exit code of the process.

    Attributes:
        fault: what an exit code of 1 says.
    """

    error: float | None
    exit_code: int = 0
    fault: str = "a snapshot could not be written"


def failure(error: BaseException) -> RunnerError:
    """Returns what an error is shown as. The traceback of one that is not only ours is in the log, and it says so.

    One of ours that the user's own class has raised says all that is needed: the class meant it to be shown.
    """
    place = places.of(error)
    if isinstance(error, InterpolationResolutionError) and place is None:
        return ConfigError(f"{error.full_key}: {first_line(error)}")
    if isinstance(error, RunnerError):
        is_foreign = error.__cause__ is not None and (place is not None or isinstance(error, RunError))
        if not is_foreign or any(note.startswith(_TRACEBACK) for note in getattr(error, "__notes__", ())):
            return error
    told = error if isinstance(error, RunnerError) else RunError(f"the run has failed: {places.told(error)}")
    if place and place not in str(told):
        told.add_note(place)
    if _NOT_EXACT in str(error):
        told.add_note("a run on a GPU could not be continued bit for bit with it: use another operation, or device=cpu")
    log.error("%s", told, exc_info=error, extra=console.IN_FILE_ONLY)
    config = HydraConfig.get()
    run_folder.keep(config.runtime.output_dir)
    told.add_note(f"{_TRACEBACK}{relative(config.runtime.output_dir)}/{config.job.name}.log")
    return told
