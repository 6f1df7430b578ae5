"""Kills and stops sweeps at random moments, and goes on with them until they end.

`python -m tests.stress.kill_sweep SEED COUNT [KIND [JOBS]]` prints how many signals there were in how many sweeps.
KIND is `basic`, `joblib`, `submitit_local`, `ray`, or `optuna` or `optuna_database`, which prune. In the end the table must be
that of the sweep without interruption but for times, the newest snapshot of each job must hold the same state, byte for byte,
the study the same trials, and no process may be left.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import torch  # noqa: F401 imported before the fork
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from runner.cli import job, run, sweep_search  # noqa: F401 imported before the fork
from runner.metrics import read_result
from tests.states import differences, state_of
from tests.stress.kill_training import Failure, start

BASE = (
    "-m",
    "conf=mnist_small",
    "loader.train_size=120",
    "loader.validation_size=60",
    "layers.fc1.output_sample_shape=10",
    "decision.max_epochs=5",
    "threads=1",
    "report=false",
    "seed=7",
    "snapshotter.at_most_lost=0",
    "snapshotter.max_overhead=1",
)
KINDS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=20"),
    "ray": ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"),
    "optuna": (
        "hydra/sweeper=optuna",
        "hydra.sweeper.seed=3",
        "hydra.sweeper.pruner=median",
        "hydra.sweeper.pruner_arguments={n_startup_trials: 2}",
    ),
}
KINDS["optuna_database"] = (*KINDS["optuna"], "hydra.sweeper.storage=sqlite:///study.db")
ELSEWHERE = ("joblib", "submitit_local", "ray")
TIMES = ("seconds", "pause_seconds", "write_seconds", "restore_seconds", "state_bytes", "stored_bytes")
"""Columns of times, and of sizes: the snapshotter counts its autosaves, which clocks decide on."""
SPARED = 0.6
"""Of the time that the uninterrupted sweep takes, how long a process lives at most."""
PATIENCE = 60
"""Seconds that processes have to end once the one that has started them is gone."""
LATE = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}
"""Helpers that wait a minute for an answer, and run no jobs."""


def keys(kind: str, jobs: int) -> list[str]:
    """Returns what is typed for a sweep of so many jobs."""
    if kind.startswith("optuna"):
        rates = ("layers.fc1.learning_rate=tag(log, interval(0.001, 0.5))", f"hydra.sweeper.n_trials={jobs}")
    else:
        rates = (f"layers.fc1.learning_rate={','.join(f'0.{number:02}' for number in range(1, jobs + 1))}",)
    return [*BASE, *KINDS[kind], *rates]


def ended(process: int, kind: signal.Signals | None, delay: float) -> int | None:
    """Waits for the process, and sends it a signal after a while; returns its exit code, or None if it was killed."""
    given_up, sent = time.monotonic() + 600, False
    at = time.monotonic() + delay
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        if kind is not None and not sent and time.monotonic() >= at:
            os.kill(process, kind)
            sent = True
        if time.monotonic() > given_up:
            raise Failure("a sweep does not end")
        time.sleep(0.01)


def started(kind: str, folder: Path, arguments: list[str]) -> int:
    if kind not in ELSEWHERE:
        return start(folder, arguments, folder / "output")
    with (folder / "output").open("w") as output:
        return subprocess.Popen([sys.executable, "-m", "runner", *arguments], cwd=folder, stdout=output, stderr=output).pid


def check_nobody_is_left(folder: Path) -> None:
    """Waits for all processes that work in the folder."""
    given_up = time.monotonic() + PATIENCE
    while left := [path for path in Path("/proc").glob("[0-9]*/cwd") if _works_in(path, folder)]:
        if time.monotonic() > given_up:
            raise Failure(f"processes are left: {left}")
        time.sleep(0.1)


def _works_in(link: Path, folder: Path) -> bool:
    try:
        return link.readlink() == folder and link.with_name("cmdline").read_text().partition("\0")[0] not in LATE
    except OSError:
        return False


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "there" / "sweep.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def states(folder: Path) -> dict[str, dict[str, bytes]]:
    """Returns the state in the newest snapshot of each job."""
    return {
        path.name: state_of(max(path.glob("*.pickle.gz"), key=lambda file: file.stat().st_mtime_ns))
        for path in (folder / "there").glob("[0-9]*")
    }


def trials(folder: Path) -> list[Any]:
    place: BaseStorage
    place, name = JournalStorage(JournalFileBackend(str(folder / "there" / "study.journal"))), "sweep"
    if (known := folder / "there" / "study.json").exists():
        place, name = RDBStorage(f"sqlite:///{folder}/study.db"), json.loads(known.read_text())["study_name"]
    found = optuna.load_study(study_name=name, storage=place).trials
    return [(trial.number, trial.state, trial.values, trial.params, trial.intermediate_values) for trial in found]


def whole(kind: str, folder: Path, jobs: int) -> float:
    """Runs a sweep without interruption; returns how long it took."""
    folder.mkdir()
    began = time.monotonic()
    code = ended(started(kind, folder, [*keys(kind, jobs), "hydra.sweep.dir=there"]), None, 0)
    if code:
        raise Failure(f"the uninterrupted sweep has ended with {code}:\n{(folder / 'output').read_text()[-2000:]}")
    return time.monotonic() - began


def interrupted(kind: str, folder: Path, jobs: int, rng: random.Random, longest: float, left: int) -> Counter[str]:
    """Runs a sweep that is killed and stopped, at most so many times; returns how often."""
    folder.mkdir()
    done: Counter[str] = Counter()
    while True:
        typed = keys(kind, jobs)
        rng.shuffle(typed)
        goes_on = "sweep=there" if (folder / "there" / ".sweep").exists() else "hydra.sweep.dir=there"
        number = rng.choice((signal.SIGKILL, signal.SIGTERM)) if done.total() < left else None
        process = started(kind, folder, [*typed, goes_on])
        code = ended(process, number, rng.uniform(0, longest))
        if code == 0:
            break
        if number is None or code not in ((None,) if number is signal.SIGKILL else (75, None)):
            raise Failure(f"{number} has ended with {code}:\n{(folder / 'output').read_text()[-3000:]}")
        done[number.name] += 1
        if rng.random() < 0.5:  # else the next one begins while jobs in other processes stop
            check_nobody_is_left(folder)
    check_nobody_is_left(folder)
    return done


def compare(kind: str, one: Path, other: Path) -> None:
    for row, wanted in zip(table(other), table(one), strict=True):
        if row != wanted:
            raise Failure(f"another row in {other}: {row} instead of {wanted}")
    wanted_states, found = states(one), states(other)
    for name, state in wanted_states.items():
        if different := differences(state, found[name]):
            raise Failure(f"another state of job {name}: {different}; {read_result(other / 'there' / name)}")
    if kind.startswith("optuna") and trials(one) != trials(other):
        raise Failure(f"other trials: {trials(other)} instead of {trials(one)}")


def main(seed: int, count: int, kind: str = "basic", jobs: int = 20) -> int:
    rng = random.Random(seed)
    found = Counter(sweeps=0, SIGKILL=0, SIGTERM=0)
    with tempfile.TemporaryDirectory() as name:
        seconds = whole(kind, Path(name, "whole"), jobs)
        while found["SIGKILL"] + found["SIGTERM"] < count:
            folder = Path(name, f"sweep-{found['sweeps']}")
            left = count - found["SIGKILL"] - found["SIGTERM"]
            found += interrupted(kind, folder, jobs, rng, SPARED * seconds, left)
            compare(kind, Path(name, "whole"), folder)
            found["sweeps"] += 1
            shutil.rmtree(folder)
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4], *map(int, sys.argv[4:5])))
