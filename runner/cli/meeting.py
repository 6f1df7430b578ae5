"""Where the tasks of a job of submitit's meet: the first of them says it in a file beside their logs, which all can read."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runner.errors import ProcessLostError
from runner.whole_file import whole_file

LONGEST = 300.0
"""Seconds in which the first task has to be there."""
INTERVAL = 0.1
"""Seconds between two looks for the file."""


@contextmanager
def of_tasks(rank: int, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yields the variables that say where the tasks meet, which they do in the block.

    Args:
        rank: of this task; the first one is 0.
        environment: in which submitit has started it.

    Raises:
        ProcessLostError: the first task has not said it.
    """
    import submitit

    job = submitit.JobEnvironment()
    # A job that Slurm starts again has the number that it had.
    path = Path(job.paths.folder, f"{job.job_id}_meeting_{environment.get('SLURM_RESTART_COUNT', '0')}")
    if rank:
        yield dict(zip(("MASTER_ADDR", "MASTER_PORT"), _read(path).split(), strict=True))
        return
    with whole_file(path) as file:
        file.write_text(f"{job.hostname if job.num_nodes > 1 else '127.0.0.1'} {_free_port()}")
    try:
        yield dict(zip(("MASTER_ADDR", "MASTER_PORT"), path.read_text().split(), strict=True))
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    given_up = time.monotonic() + LONGEST
    while time.monotonic() < given_up:
        try:
            return path.read_text()
        except FileNotFoundError:
            time.sleep(INTERVAL)
    raise ProcessLostError(f"the first task of the job has not said in {LONGEST:.0f} s where the others meet it ({path})")


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("", 0))
        port: int = asked.getsockname()[1]
    return port
