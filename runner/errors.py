"""The errors of veles-run, named by cause; each also derives from the builtin that a caller would catch.

RunnerError
├── ConfigError (ValueError)                a key, value or name in the configuration is wrong
├── RunError (RuntimeError)                 the workflow's own code has raised an error, or tried to end the process
├── ProcessLostError (ConnectionError)      of several processes that share a run, one has ended or does not answer
├── DriftError                              several processes that share a run do not have the same weights
├── DivergedError (ArithmeticError)          the training has come to numbers that are not finite
├── GraphError
│   ├── LinkError (AttributeError)          a link that cannot be made, or a write to a one-way link
│   ├── DemandError (AttributeError)        an attribute that was demanded is not linked or set
│   ├── CycleError (ValueError)             a cycle that could never run
│   └── PlacementError (ValueError)         the snapshotter's place leaves another unit's state uncertain
└── SnapshotError
    ├── StateError (pickle.PicklingError)   a part of the workflow cannot be pickled
    ├── StoreError (OSError)                the store refused to write, list or delete
    │   ├── StoreSyncError                      the snapshot is there, and may not outlive a power failure
    │   ├── StoreSpooledError                   the snapshot is in the spool, since the store has refused it
    │   ├── StoreAwayError (ConnectionError)    the database does not answer
    │   └── StoreAccessError (PermissionError)  a wrong password, or rights that are missing
    ├── RunInUseError (BlockingIOError)     another process goes on with the run
    ├── SnapshotNotFoundError (FileNotFoundError)
    ├── SnapshotAmbiguousError (LookupError) a location fits several runs
    ├── SnapshotDamagedError (ValueError)   empty, truncated, altered, or not a snapshot at all
    ├── SnapshotMismatchError (ValueError)  of another workflow, another data set or a newer format
    └── SnapshotRefusedError (pickle.UnpicklingError)  it holds what may not be loaded, or its signature is wrong

`exit_code` is what the command line returns: 2 for bad usage or input, 1 for a failure of the run.
"""

import pickle
from typing import ClassVar

from runner.text import shown


class RunnerError(Exception):
    """The root of every error that veles-run raises on purpose.

    Its message is one line: what snapshots, files and servers bring neither breaks it nor reaches a terminal.
    """

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return shown(super().__str__())


def with_notes(error: BaseException, text: str | None = None) -> str:
    """Returns what an error says, or a better text, with its notes: a place, and where the traceback is."""
    text, notes = str(error) if text is None else text, getattr(error, "__notes__", ())
    return f"{text} ({'; '.join(notes)})" if notes else text


class ConfigError(RunnerError, ValueError):
    """A key, a value or a name in the configuration is wrong."""

    exit_code = 2


class RunError(RunnerError, RuntimeError):
    """The workflow's own code has raised an error, or tried to end the process."""


class ProcessLostError(RunnerError, ConnectionError):
    """Of several processes that share a run, one has ended, or does not answer."""


class DriftError(RunnerError):
    """Several processes that share a run do not have the same weights."""


class DivergedError(RunnerError, ArithmeticError):
    """A loss or a weight is infinite or not a number, from which no training comes back."""


class GraphError(RunnerError):
    """The workflow's graph is wrong."""

    exit_code = 2


class LinkError(GraphError, AttributeError):
    """An attribute link cannot be made, or a one-way link was written to."""


class DemandError(GraphError, AttributeError):
    """A demanded attribute is neither linked nor set."""


class CycleError(GraphError, ValueError):
    """The graph holds a cycle without a repeater, which could never run."""


class PlacementError(GraphError, ValueError):
    """Where the snapshotter stands, another unit's state would be uncertain."""


class SnapshotError(RunnerError):
    """A snapshot cannot be written, found or used."""


class StateError(SnapshotError, pickle.PicklingError):
    """A part of the workflow's state cannot be pickled."""


class StoreError(SnapshotError, OSError):
    """The store refused an operation."""


class StoreSyncError(StoreError):
    """The snapshot is there and complete, but it is not certain that it would outlive a power failure."""


class StoreSpooledError(StoreError):
    """The store has refused a snapshot, which is in the spool.

    Args:
        message: what was refused, and why.
        location: the file in the spool.
    """

    def __init__(self, message: str, location: str = "") -> None:
        super().__init__(message)
        self.location = location


class StoreAwayError(StoreError, ConnectionError):
    """The database does not answer."""


class StoreAccessError(StoreError, PermissionError):
    """The database refuses the user: a wrong password, or rights that are missing."""

    exit_code = 2


class RunInUseError(SnapshotError, BlockingIOError):
    """Another process goes on with the run."""

    exit_code = 2


class SnapshotNotFoundError(SnapshotError, FileNotFoundError):
    """There is no such snapshot."""

    exit_code = 2


class SnapshotAmbiguousError(SnapshotError, LookupError):
    """A location fits several runs."""

    exit_code = 2


class SnapshotDamagedError(SnapshotError, ValueError):
    """The stream is empty, truncated, altered, or not a snapshot at all."""

    exit_code = 2


class SnapshotMismatchError(SnapshotError, ValueError):
    """The snapshot is sound but not for this use: another workflow, other data, a newer format."""

    exit_code = 2


class SnapshotRefusedError(SnapshotError, pickle.UnpicklingError):
    """The snapshot holds what may not be loaded, or lacks the signature that was asked for. Nothing of it was run."""

    exit_code = 2
