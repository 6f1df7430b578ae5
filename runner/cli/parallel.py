"""Whether this process is one of several that somebody started as one parallel job."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import ConfigError

SIZES = {
    "WORLD_SIZE": "torchrun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpiexec",
    "SLURM_STEP_NUM_TASKS": "srun",
}
"""What says of how many processes the job is, and who sets it. SLURM_NTASKS is no such thing: in a batch script it says how
many tasks *could* be started."""


def check_alone(environment: Mapping[str, str]) -> None:
    """Raises a ConfigError if this process is one of several: each would be a run of its own."""
    for name, starter in SIZES.items():
        if _number(environment.get(name)) > 1:
            raise _refused(f"{name}={environment[name]}", starter)
    if _number(environment.get("SLURM_PROCID")) > 0:  # that of a batch script, and of the first process of a step, is 0
        raise _refused(f"SLURM_PROCID={environment['SLURM_PROCID']}", "srun")
    if _in_a_step(environment) and "SLURM_STEP_NUM_TASKS" not in environment and _number(environment.get("SLURM_NTASKS")) > 1:
        raise _refused(f"SLURM_NTASKS={environment['SLURM_NTASKS']}", "srun")


def _refused(found: str, starter: str) -> ConfigError:
    return ConfigError(
        f"{found} says that {starter} started several processes, each of which would be a whole run: a run is one process;"
        " start it once (srun -n 1, or without the starter); for several runs use -m or a job array"
    )


def _in_a_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process; the batch script and the like are steps with special numbers."""
    return 0 <= _number(environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID")), -1) < 0xFFFF0000


def _number(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise
