"""The processes of a job of Ray's: the first one says how it has ended, and one that is killed is told."""

import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from runner.cli import ray_processes
from runner.errors import ProcessLostError


class Work:
    """Returns what each process is told, or has one of them killed.

    Args:
        killed: which.
    """

    def __init__(self, killed: int | None = None) -> None:
        self._killed = killed

    def run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        if int(os.environ["RANK"]) == self._killed:
            os.kill(os.getpid(), signal.SIGKILL)
        told: Any = {name: os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")}
        return JobReturn(status=JobStatus.COMPLETED, _return_value=(number, overrides, told))


def test_the_first_process_says_how_a_job_has_ended() -> None:
    returned = ray_processes.run(Work(), 7, ["a=1"], 2)
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert returned.return_value == (7, ["a=1"], told)


def test_a_killed_process_is_told() -> None:
    returned = ray_processes.run(Work(killed=0), 7, [], 2)
    assert returned.status is JobStatus.FAILED
    with pytest.raises(ProcessLostError, match="process 0 of 2"):
        _ = returned.return_value
