"""Mutated pickles run nothing, write nothing and import nothing, and end in an object or an error that is meant for it."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.hostile import samples
from tests.mutate import NOWHERE

COUNT = 50_000
PROCESSES = 2


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])


def test_mutants_trip_nothing(rng: random.Random) -> None:
    seeds = [rng.randrange(2**32) for _ in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(lambda seed: run(seed, COUNT // PROCESSES), seeds))
    for seed, process in zip(seeds, done, strict=True):
        assert process.returncode == 0, (
            f"python -m tests.mutate {seed} {COUNT}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
        )
        assert "'loaded'" in process.stdout


def test_the_audit_hook_has_teeth() -> None:
    """The control: Python's own unpickler trips it with every hostile pickle that is meant to run something."""
    process = run("control")
    assert process.returncode == 0, process.stderr
    assert set(process.stdout.split()) == {sample.name for sample in samples(NOWHERE) if sample.fires}
