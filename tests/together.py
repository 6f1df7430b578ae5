"""Runs of veles-run in several processes, as torchrun starts them."""

import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.forked import Started

LIMIT = 60.0
"""Seconds that a run may take."""


class Together:
    """A run of the command in several processes that has been started; they are killed at the end of the block."""

    def __init__(self, arguments: Sequence[str], *, size: int, cwd: Path, command: str = "veles-run") -> None:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(size)}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
        several = [os.environ | {"OMP_NUM_THREADS": "1"} | (meeting | own if size > 1 else {}) for own in ranks]
        self._stack = ExitStack()
        self.processes = [
            self._stack.enter_context(Started(arguments, cwd=cwd, environment=own, command=command)) for own in several
        ]

    def __enter__(self) -> "Together":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def end(self) -> list[subprocess.CompletedProcess[str]]:
        """Waits for the end of all, and returns them by their ranks."""
        return [process.end(LIMIT) for process in self.processes]


def run_together(arguments: Sequence[str], *, size: int, cwd: Path, codes: Sequence[int] = (0,)) -> str:
    """Runs the command in several processes to its end; returns what process 0 has printed on standard output."""
    with Together(arguments, size=size, cwd=cwd) as together:
        ended = together.end()
    assert {one.returncode for one in ended} <= {*codes}, [one.stderr for one in ended]
    return ended[0].stdout


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port
