"""A small part of what `python -m tests.stress` does for hours: kills and damage at random."""

import ast
import os
import random
from pathlib import Path

import pytest

from tests import forked


def run(module: str, count: int, rng: random.Random, *arguments: str) -> tuple[int, dict[str, int]]:
    """Runs a test in a process of its own; returns its exit code, and what it prints."""
    words = [module, str(rng.randrange(2**32)), str(count), *arguments]
    root = Path(__file__).parents[2]
    done = forked.run(["-m", *words], cwd=root, environment=os.environ, timeout=600, command="python")
    assert done.stdout, f"python -m {' '.join(words)}\n{done.stderr[-3000:]}"
    assert not done.stderr, f"python -m {' '.join(words)}\n{done.stdout}{done.stderr[-3000:]}"
    found: dict[str, int] = ast.literal_eval(done.stdout.splitlines()[-1])
    return done.returncode, found


def test_killed_writers_lose_nothing_that_was_acknowledged(rng: random.Random) -> None:
    code, found = run("tests.stress.kill_writer", 30, rng)
    assert code == 0, found
    assert found["kills"] == 30
    assert found["acknowledged"] > found["kills"]
    assert found["unreadable"] == found["lost"] == 0


def test_writers_that_write_in_place_do(rng: random.Random) -> None:
    """The control: the kills hit."""
    code, found = run("tests.stress.kill_writer", 60, rng, "control")
    assert code == 1
    assert found["unreadable"] > 0
    assert found["lost"] > 0


def test_killed_runs_end_as_if_they_had_not_been(rng: random.Random) -> None:
    code, found = run("tests.stress.kill_training", 2, rng, "tensorboard")
    assert code == 0
    assert found["kills"] == 2


def test_commands_that_are_typed_at_random_do_what_they_say(rng: random.Random) -> None:
    code, found = run("tests.stress.type_commands", 4, rng)
    assert code == 0, found
    assert sum(found.values()) == 4


def test_random_data_have_the_predictions_and_scores_that_numpy_gives(rng: random.Random) -> None:
    code, found = run("tests.stress.use_data", 2, rng)
    assert code == 0, found
    assert sum(found.values()) == 2


def test_commands_of_snapshots_do_what_is_promised(rng: random.Random) -> None:
    code, found = run("tests.stress.manage_snapshots", 1, rng)
    assert code == 0, found


def test_shared_runs_end_as_if_they_had_been_one_process(rng: random.Random) -> None:
    # To find a stopped one takes a quarter of a minute.
    code, found = run("tests.stress.share_run", 2, rng, "SIGTERM", "SIGKILL")
    assert code == 0
    assert found["interruptions"] == 2


@pytest.mark.parametrize(("kind", "jobs", "kills"), [("optuna_database", 4, 2)])
def test_killed_sweeps_end_as_if_they_had_not_been(kind: str, jobs: int, kills: int, rng: random.Random) -> None:
    code, found = run("tests.stress.kill_sweep", kills, rng, kind, str(jobs))
    assert code == 0
    assert found.get("SIGKILL", 0) + found.get("SIGTERM", 0) == kills


def test_jobs_that_run_at_once_share_a_database(rng: random.Random) -> None:
    code, found = run("tests.stress.share_database", 6, rng, "sqlite")
    assert code == 0
    assert found["trials"] == 6


def test_damaged_snapshots_are_refused(rng: random.Random) -> None:
    code, found = run("tests.stress.damage", 500, rng)
    assert code == 0
    assert found["refused"] > 325
