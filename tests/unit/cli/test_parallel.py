"""One process of several is told from one that could have had others beside it."""

import pytest

from runner.cli.parallel import check_meeting, several
from runner.errors import ConfigError

SEVERAL = {
    "torchrun": {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"},
    "mpiexec": {"PMI_SIZE": "2", "PMI_RANK": "0"},
    "srun": {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
    "srun, second process": {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
    "submitit": {"SUBMITIT_LOCAL_NTASKS": "2", "SUBMITIT_LOCAL_GLOBALID": "0", "SUBMITIT_LOCAL_LOCALID": "0"},
    "an older srun": {"SLURM_STEPID": "3", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
}
ALONE = {
    "nothing": {},
    "torchrun with one process": {"WORLD_SIZE": "1", "RANK": "0"},
    "sbatch --ntasks=8": {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    "a batch step that says its number": {"SLURM_STEP_ID": "4294967291", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
    "srun -n 1 in sbatch --ntasks=8": {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"},
    "sbatch from within srun, whose variables it inherits": {
        "SLURM_STEP_NUM_TASKS": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "8",
        "SLURM_PROCID": "0",
    },
    "a job array": {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "10", "SLURM_PROCID": "0"},
    "what is no number": {"WORLD_SIZE": "", "SLURM_PROCID": "x"},
}


@pytest.mark.parametrize("case", SEVERAL)
def test_one_of_several(case: str) -> None:
    found = several(SEVERAL[case])
    assert found is not None
    assert (found.rank, found.size) == ((1, 2) if "second" in case else (0, 4 if case == "mpirun" else 2))
    with pytest.raises(ConfigError, match=next(name for name in SEVERAL[case] if name != "SLURM_STEPID")):
        check_meeting(found, SEVERAL[case])
    check_meeting(found, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


@pytest.mark.parametrize("case", ALONE)
def test_alone(case: str) -> None:
    assert several(ALONE[case]) is None
