"""A small part of what `python -m tests.stress` does for hours: kills and damage at random."""

import ast
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROCESSES = 2


def run(module: str, count: int, rng: random.Random, *arguments: str) -> tuple[set[int], Counter[str]]:
    """Runs a test in several processes; returns their exit codes, and the sum of what they print."""

    def block(seed: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, str(seed), str(count // PROCESSES), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])

    with ThreadPoolExecutor(PROCESSES) as pool:
        seeds = [rng.randrange(2**32) for _ in range(PROCESSES)]
        done = list(pool.map(block, seeds))
    total: Counter[str] = Counter()
    for seed, process in zip(seeds, done, strict=True):
        assert process.stdout, f"python -m {module} {seed} {count // PROCESSES}\n{process.stderr[-3000:]}"
        assert not process.stderr, f"python -m {module} {seed} {count // PROCESSES}\n{process.stdout}{process.stderr[-3000:]}"
        total.update(ast.literal_eval(process.stdout.splitlines()[-1]))
    return {process.returncode for process in done}, total


def test_killed_writers_lose_nothing_that_was_acknowledged(rng: random.Random) -> None:
    codes, found = run("tests.stress.kill_writer", 600, rng)
    assert codes == {0}, found
    assert found["kills"] == 600
    assert found["acknowledged"] > found["kills"]
    assert found["unreadable"] == found["lost"] == 0


def test_writers_that_write_in_place_do(rng: random.Random) -> None:
    """The control: the kills hit."""
    codes, found = run("tests.stress.kill_writer", 100, rng, "control")
    assert codes == {1}
    assert found["unreadable"] > 0
    assert found["lost"] > 0


def test_killed_runs_end_as_if_they_had_not_been(rng: random.Random) -> None:
    codes, found = run("tests.stress.kill_training", 20, rng)
    assert codes == {0}
    assert found["kills"] == 20


def test_damaged_snapshots_are_refused(rng: random.Random) -> None:
    codes, found = run("tests.stress.damage", 8_000, rng)
    assert codes == {0}
    assert found["refused"] > 6_000
