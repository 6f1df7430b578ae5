"""Whether this process is one of several that somebody started as one parallel job, and which of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from runner.errors import ConfigError
from runner.parallel.processes import ALONE, Processes


class Starter(NamedTuple):
    """What a starter of processes says in the environment of each."""

    program: str
    size: str
    rank: str
    local_rank: str


STARTERS = (
    Starter("torchrun", "WORLD_SIZE", "RANK", "LOCAL_RANK"),
    Starter("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    Starter("mpiexec", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    Starter("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    Starter("submitit", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_LOCALID"),
)
"""SLURM_NTASKS is no size: in a batch script it says how many tasks *could* be started."""
MEETING = ("MASTER_ADDR", "MASTER_PORT")
"""Where the processes meet; torchrun sets it."""


class Several(NamedTuple):
    """Several processes, of which this is one.

    Attributes:
        said: what says so, such as `WORLD_SIZE=2`.
        program: who started them.
        rank, size, local_rank: as in `Processes`.
    """

    said: str
    program: str
    rank: int
    size: int
    local_rank: int


class _Joined:
    """What this process has joined."""

    processes: Processes = ALONE


def here() -> Processes:
    """Returns the processes that share what this one runs; usually it is alone."""
    return _Joined.processes


def join(environment: Mapping[str, str]) -> Processes:
    """Joins the other processes, if somebody has started several; returns all that share what this one runs.

    Raises:
        ConfigError: nothing says where they meet.
        ProcessLostError: they do not meet.
    """
    if _Joined.processes is ALONE and (found := several(environment)) is not None:
        with _meeting(found, environment):
            from runner.parallel.process_group import Group

            _Joined.processes = Group(found.rank, found.size, found.local_rank)
    return _Joined.processes


@contextmanager
def _meeting(found: Several, environment: Mapping[str, str]) -> Iterator[None]:
    """Has the environment say in the block where the processes meet. Of submitit's tasks nobody else does.

    Raises:
        ConfigError: nothing says it.
        ProcessLostError: the first of submitit's tasks does not.
    """
    if environment.get("SUBMITIT_EXECUTOR") is None or all(map(environment.get, MEETING)):
        check_meeting(found, environment)
        yield
        return
    from runner.cli import meeting

    with meeting.of_tasks(found.rank, environment) as place:
        os.environ.update(place)
        yield


def several(environment: Mapping[str, str]) -> Several | None:
    """Returns what the environment says of several processes; None if this one is alone."""
    for starter in STARTERS:
        if (size := _number(environment.get(starter.size))) > 1:
            rank, local_rank = (_number(environment.get(name)) for name in (starter.rank, starter.local_rank))
            return Several(f"{starter.size}={size}", starter.program, rank, size, local_rank)
    rank, tasks = _number(environment.get("SLURM_PROCID")), _number(environment.get("SLURM_NTASKS"))
    # That of a batch script, and of the first process of a step, is 0.
    in_a_step = _in_a_step(environment) and "SLURM_STEP_NUM_TASKS" not in environment
    if rank > 0 or (in_a_step and tasks > 1):
        said = f"SLURM_PROCID={rank}" if rank > 0 else f"SLURM_NTASKS={tasks}"
        return Several(said, "srun", rank, max(tasks, rank + 1), _number(environment.get("SLURM_LOCALID")))
    return None


def check_meeting(found: Several, environment: Mapping[str, str]) -> None:
    """Raises a ConfigError if nothing says where several processes meet: each of them would be a whole run."""
    if missing := [name for name in MEETING if not environment.get(name)]:
        raise ConfigError(
            f"{found.said} says that {found.program} started several processes, and {missing[0]} is not set: torchrun"
            f" --nproc_per_node={found.size} -m runner ... starts processes that share a run (docs/parallel.md); start a run of"
            " one process once (srun -n 1, or without the starter), and several runs with -m or a job array"
        )


def _in_a_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process; the batch script and the like are steps with special numbers."""
    return 0 <= _number(environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID")), -1) < 0xFFFF0000


def _number(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise
