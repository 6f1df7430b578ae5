"""What does not fit together in a restored state shows when units compute with it: as one typed error.

A restore compares each attribute with its type. Whether shapes, names and lengths agree is known to the units that use them.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from runner.checks import first_line
from runner.errors import RunnerError, SnapshotMismatchError

if TYPE_CHECKING:
    from runner.graph.workflow import Workflow

F = TypeVar("F", bound=Callable[..., Any])

LIBRARIES = frozenset(
    {*sys.stdlib_module_names, "runner", "numpy", "torch", "networkx", "sklearn", "scipy", "PIL", "pandas", "pyarrow"}
)
"""Packages whose errors say that they were given wrong values; in any other, an error is that package's own."""


def goes_on(method: F) -> F:
    """Makes errors of veles-run's own units in a restored workflow typed, in a method of the workflow."""

    @functools.wraps(method)
    def call(workflow: Workflow, *arguments: Any) -> Any:
        try:
            return method(workflow, *arguments)
        except (RunnerError, OSError, MemoryError):
            raise
        except Exception as error:
            if not workflow.from_snapshot_ or not _is_of_libraries(error):
                raise
            raise SnapshotMismatchError(
                f"the run goes on from a snapshot, and {_unit_of(error)} fails ({type(error).__name__}: {first_line(error)}):"
                " its state does not fit together, or veles-run is wrong (HYDRA_FULL_ERROR=1 shows where)"
            ) from error

    return call  # type: ignore[return-value]


def _is_of_libraries(error: Exception) -> bool:
    """Whether no code of the user's own was on the way to the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return all(frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES for frame in frames)


def _unit_of(error: Exception) -> str:
    """Names the innermost unit on the way to the error."""
    from runner.graph.unit import Unit

    found = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [f"{type(unit).__name__} {str(vars(unit).get('name'))[:100]!r}" for unit in found if isinstance(unit, Unit)]
    return names[-1] if names else "it"
