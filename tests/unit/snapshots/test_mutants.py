"""Mutated pickles run nothing, write nothing and import nothing, and end in an object or an error that is meant for it."""

import random
import subprocess
import sys
from pathlib import Path

from tests.hostile import samples
from tests.mutate import NOWHERE

COUNT = 5_000


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])


def test_mutants_trip_nothing(rng: random.Random) -> None:
    seed = rng.randrange(2**32)
    process = run(seed, COUNT)
    assert process.returncode == 0, f"python -m tests.mutate {seed} {COUNT}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    assert "'loaded'" in process.stdout


def test_the_audit_hook_has_teeth() -> None:
    """The control: Python's own unpickler trips it with every hostile pickle that is meant to run something."""
    process = run("control")
    assert process.returncode == 0, process.stderr
    assert set(process.stdout.split()) == {sample.name for sample in samples(NOWHERE) if sample.fires}
