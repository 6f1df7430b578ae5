"""Who goes on with a run: what a process writes beside its claim, so that another one can name it."""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from typing import Self

from runner.errors import RunInUseError
from runner.snapshots.format.header import utc_now

_process = str(uuid.uuid4())


def _after_fork() -> None:
    global _process
    _process = str(uuid.uuid4())


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that has claimed a run.

    Attributes:
        host: the name of its machine.
        pid: its number there.
        since: when it claimed the run: ISO 8601, UTC.
        process: tells it from all other processes, on whichever machine (UUID).
    """

    host: str
    pid: int
    since: str
    process: str

    @classmethod
    def me(cls) -> Self:
        """Returns this process, now."""
        return cls(host=socket.gethostname(), pid=os.getpid(), since=utc_now(), process=_process)

    @classmethod
    def read(cls, text: bytes | None) -> Self | None:
        """Returns the holder that was written; None if it cannot be told, such as when it has not been written yet."""
        try:
            values = json.loads(text or b"")
            return cls(
                host=str(values["host"]), pid=int(values["pid"]), since=str(values["since"]), process=str(values["process"])
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def written(self) -> bytes:
        """Returns the holder as it is written."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since[:19].replace('T', ' ')} UTC"


def refuse(holder: Holder | None, place: str) -> None:
    """Refuses a run that another process has claimed.

    Args:
        holder: the process; this one may have claimed the run already, by another name of the place.
        place: where the run is.

    Raises:
        RunInUseError: it is another process.
    """
    if holder is None or holder.process != _process:
        raise RunInUseError(
            f"another job goes on with this run in {place}: {holder or 'a process that has not written yet who it is'}."
            " Wait until it has ended, or stop it. To train another run beside it, change what makes it another: with"
            " snapshot=auto seed=N starts one afresh, with a snapshot a key such as a learning rate makes a branch"
        )
