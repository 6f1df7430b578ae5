"""A job of Ray's in several processes, which its task starts on its machine, as torchrun does.

`python -m runner.cli.ray_processes` is one of them: it reads what it is to do from standard input.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from ray import cloudpickle

from runner.errors import ProcessLostError

RETURNED = "VELES_RUN_RETURNED"
"""The variable that names the descriptor to which the first process writes how the job has ended."""


def run(task: Any, number: int, overrides: Sequence[str], count: int) -> JobReturn:
    """Runs a job in several processes, and returns how it has ended.

    If this process is gone, they take a snapshot and end, as all jobs do whose sweep is gone.

    Args:
        task: as in `sweep_ray`.
        number: the job's.
        overrides: what is typed for it.
        count: how many processes share it.
    """
    work: bytes = cloudpickle.dumps((task, number, list(overrides)))  # type: ignore[no-untyped-call]
    (reading, writing), meeting = os.pipe(), _meeting()
    started = [_started(rank, count, meeting, writing) for rank in range(count)]
    os.close(writing)
    for process in started:
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:  # it has ended, as its result says
            process.stdin.write(work)
    with os.fdopen(reading, "rb") as file:
        returned = file.read()
    for process in started:
        process.wait()
    if not returned:
        return JobReturn(status=JobStatus.FAILED, _return_value=ProcessLostError(f"process 0 of {count} has ended"))
    found: JobReturn = cloudpickle.loads(returned)
    return found


def _started(rank: int, count: int, meeting: dict[str, str], writing: int) -> subprocess.Popen[bytes]:
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or 1) // count)
    environment = os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": str(threads)}
    environment |= {"WORLD_SIZE": str(count)} | ({RETURNED: str(writing)} if rank == 0 else {})
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=environment,
        stdin=subprocess.PIPE,
        pass_fds=[writing] if rank == 0 else [],
    )


def _meeting() -> dict[str, str]:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(asked.getsockname()[1])}


def main() -> None:
    """Runs a job in this process, as one of several."""
    writing = os.environ.pop(RETURNED, None)
    task, number, overrides = cloudpickle.loads(sys.stdin.buffer.read())
    returned = task.run(number, overrides)
    if writing is not None:
        with os.fdopen(int(writing), "wb") as file:
            file.write(cloudpickle.dumps(returned))  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
