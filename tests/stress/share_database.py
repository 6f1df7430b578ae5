"""Runs the jobs of a search all at once, which have their snapshots and their study in one database.

`python -m tests.stress.share_database SEED COUNT [KIND ...]` prints how many trials and snapshots there are. KIND is `sqlite`,
`mariadb` or `postgresql`; all unless given. The database's own client then has to find each trial once, ended, with the value
that its job has come to, the error after each epoch, and as many snapshots as the same jobs write as files, one by one.
The newest one of each holds the same state in both, byte for byte.
"""

import csv
import gc
import os
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna  # noqa: F401 imported before the fork
import torch  # noqa: F401 imported before the fork
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_joblib_launcher._core import execute_job
from omegaconf import DictConfig

import hydra_plugins
from runner import passwords
from runner.cli import job, run, sweep_search  # noqa: F401 imported before the fork
from runner.metrics import read_result
from tests.servers import KINDS, Server, Servers, odbc_settings, seen_by_client
from tests.states import differences, state_of
from tests.stress.kill_training import Failure, start

EPOCHS = 2
KEYS = (
    *("-m", "conf=mnist_small", "loader.train_size=60", "loader.validation_size=40", "layers.fc1.output_sample_shape=4"),
    *(f"decision.max_epochs={EPOCHS}", "threads=1", "report=false", "seed=7", "snapshotter.at_most_lost=null"),
    *("hydra/sweeper=optuna", "hydra.sweeper.sampler=random", "layers.fc1.learning_rate=tag(log, interval(0.001, 0.5))"),
    *("hydra.sweeper.pruner=median", "hydra.sweeper.pruner_arguments={n_startup_trials: 9999}"),
)
ERRORS = "select count(*), count(distinct v.trial_id) from trial_intermediate_values v"
TRIALS = "select t.number, t.state, v.value from trials t join trial_values v on v.trial_id = t.trial_id order by t.number"
SNAPSHOTS = "select count(*), count(distinct log_id) from veles"


class Forks(Launcher):
    """Runs all jobs at once, each in a process that is forked from this one: a hundred interpreters would not fit."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._given = hydra_context, config, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        pipes = [_forked(lambda at=at, typed=typed: self._job(at, typed)) for at, typed in enumerate(job_overrides)]
        return [_returned(pipe) for pipe in pipes]

    def _job(self, number: int, overrides: Sequence[str]) -> JobReturn:
        return execute_job(number, overrides, *self._given, Singleton.get_state())


def _forked(call: Any) -> tuple[int, int]:
    """Calls it in another process; returns that, and the end of a pipe from which to read what it returns."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(call()))
        finally:
            os._exit(0)
    os.close(writing)
    return process, reading


def _returned(forked: tuple[int, int]) -> JobReturn:
    process, reading = forked
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(process, 0)
    returned: JobReturn = pickle.loads(content)
    return returned


def register() -> None:
    """Tells Hydra of the launcher, which it takes from one package only."""
    Forks.__module__ = "hydra_plugins.forks"
    sys.modules[Forks.__module__] = hydra_plugins.forks = sys.modules[__name__]  # type: ignore[attr-defined]
    Plugins.instance().register(Forks)
    ConfigStore.instance().store(group="hydra/launcher", name="forks", node={"_target_": "hydra_plugins.forks.Forks"})


def swept(folder: Path, typed: Sequence[str]) -> list[dict[str, str]]:
    """Runs the sweep; returns its table, in the order of the jobs."""
    process = start(folder, [*KEYS, *typed], folder / "output")
    _, status = os.waitpid(process, 0)
    if status:
        raise Failure(
            f"the sweep has ended with {os.waitstatus_to_exitcode(status)}:\n{(folder / 'output').read_text()[-3000:]}"
        )
    (table,) = folder.glob(f"{typed[0].partition('=')[2]}/sweep.csv")
    with table.open() as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["job"]))


def check(server: Server, folder: Path, count: int, seed: int) -> Counter[str]:
    """Runs the sweep with files, one job after the other, and with the database, all at once, and compares both."""
    typed = (f"hydra.sweeper.n_trials={count}", f"hydra.sweeper.seed={seed}", f"hydra.sweeper.n_jobs={count}")
    wanted = swept(folder, ("hydra.sweep.dir=files", *typed))
    place = (f"snapshotter.odbc={server.odbc}", f"hydra.sweeper.storage={server.url}", "hydra/launcher=forks")
    rows = swept(folder, (f"hydra.sweep.dir={server.kind}", *typed, *place))
    passwords.conceal(server.odbc)  # which the locations in the results do without
    for one, other in zip(wanted, rows, strict=True):
        same = ("job", "layers.fc1.learning_rate", "objective", "best_epoch", "status")
        if any(one[name] != other[name] for name in same):
            raise Failure(f"another row: {other} instead of {one}")
    trials = [(int(number), state, float(value)) for number, state, value in seen_by_client(server, TRIALS)]
    if [(n, s, round(v, 6)) for n, s, v in trials] != [
        (n, "COMPLETE", round(float(r["objective"]), 6)) for n, r in enumerate(rows)
    ]:
        raise Failure(f"other trials: {trials}")
    if (found := seen_by_client(server, ERRORS)) != [[str(EPOCHS * count), str(count)]]:
        raise Failure(f"errors of epochs and trials that have some: {found}")
    ((snapshots, runs),) = seen_by_client(server, SNAPSHOTS)
    written = sum(not path.is_symlink() for path in folder.glob("files/*/*.pickle.gz"))
    if int(runs) != count or int(snapshots) != written:
        raise Failure(f"{snapshots} snapshots of {runs} runs, and in files {written} of {count}")
    for row in rows:
        newest = max((folder / "files" / row["job"]).glob("*.pickle.gz"), key=lambda file: file.stat().st_mtime_ns)
        result = read_result(folder / server.kind / row["job"]) or {}
        if different := differences(state_of(newest), state_of(result["last_snapshot"])):
            raise Failure(f"another state of job {row['job']}: {different}")
    return Counter(trials=len(trials), snapshots=int(snapshots))


def main(seed: int, count: int, *kinds: str) -> int:
    register()
    gc.freeze()
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        stack.enter_context(odbc_settings())
        servers = Servers(stack)
        for kind in kinds or KINDS:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            found += check(servers.database(kind, folder), folder, count, seed)
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
