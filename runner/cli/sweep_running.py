"""Runs the jobs of a sweep, each in the folder of its number, by whichever launcher Hydra has."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner import config as schema
from runner.cli import notices, run_folder, sweep_bar, sweep_end, sweep_stop, sweeps
from runner.cli.conf_files import swept
from runner.cli.console import console, is_live, is_quiet
from runner.cli.overrides import for_hydra, normalize
from runner.cli.request import job_part, keys_of
from runner.cli.shelf.printing import say
from runner.cli.sweeping import seed, typed
from runner.cli.sweeping.jobs import Failed, Job, Plan
from runner.cli.sweeping.record import Record
from runner.config.sweeping import SweepSeed
from runner.errors import ConfigError, RunError, RunInUseError
from runner.parallel.processes import Processes
from runner.snapshots.stores.holder import Holder
from runner.snapshots.stores.lock import locked
from runner.use.sources import STANDARD

SUBDIR, NUMBER = "hydra.sweep.subdir", "${hydra.job.num}"
"""What a job's folder is called by, and its number within that."""
TASKS = ("nodes", "tasks_per_node", "ray.processes")
"""The keys of launchers, submitit's and Ray's, that say how many processes a job has."""
TRIES = 3
"""How often it is tried to lock a sweep."""


def with_params(params: Mapping[str, str] | None, arguments: Sequence[str]) -> list[str]:
    """Returns what `hydra.sweeper.params` has, by key, and what was typed: of a key that both have, the latter counts."""
    further = normalize([f"{key}={value}" for key, value in (params or {}).items()])
    kept = typed.settled([*further, *arguments])
    for text in further:
        if text not in kept:
            notices.note(f"hydra.sweeper.params has {text.lstrip('+').partition('=')[0]}, too: what is typed for it counts")
    return kept


def _check_joblib(settings: Mapping[str, Any]) -> None:
    """Raises a ConfigError for a setting of Hydra's launcher for joblib that it does not heed, or that joblib refuses."""
    if settings.get("n_jobs") == 0:
        raise ConfigError("hydra.launcher.n_jobs=0 runs no job: a number of processes, or -1 for all cores")
    for name, only in (("backend", "loky"), ("prefer", "processes"), ("require", None)):
        if settings.get(name) not in (None, only):
            raise ConfigError(
                f"hydra.launcher.{name}={settings[name]} changes nothing: jobs of joblib are processes of loky; leave it out"
            )


class Running:
    """A sweep of this process.

    Attributes:
        config: what Hydra has composed, without what is swept.
        context: Hydra's.
        goes_on: whether it goes on with jobs that are there.
        folder: the sweep's.

    Args:
        context, task, config: what Hydra tells a sweeper.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> None:
        self.config, self.context = config, context
        self.goes_on = config.sweep.folder is not None
        self.folder = Path(config.hydra.sweep.dir)
        instance = Plugins.instance()
        self._launcher: Launcher = instance.instantiate_launcher(hydra_context=context, task_function=task, config=config)
        if isinstance(settings := getattr(self._launcher, "joblib", None), dict):
            _check_joblib(settings)
            # Else a process that has not been given a job yet would wait for one when this one has been killed.
            settings |= {"initializer": sweep_stop.end_with, "initargs": (os.getpid(),)}
        written: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        self._pattern = str(written["subdir"])
        self._taken = set[tuple[str, str]]()
        self._launched = False

    @contextmanager
    def begun(self, arguments: Sequence[str]) -> Iterator[Record]:
        """Makes the sweep's folder, and keeps other processes from going on with it in the block.

        Args:
            arguments: what is typed for the jobs.

        Raises:
            ConfigError: the conf file has changed since the sweep began, or the folder cannot be made.
            RunInUseError: another process goes on with the sweep.
        """
        run_folder.note_new(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"hydra.sweep.dir={str(self.folder)!r} cannot be made: {error.strerror}") from error
        with _alone(self.folder):
            record = self._record(arguments)
            record.write(self.folder)
            seed.use(record.seed)
            self._tell_seed(record)
            OmegaConf.save(self.config, self.folder / "multirun.yaml")
            try:
                yield record
            except Exception:
                if not self._launched:
                    run_folder.discard_sweep(self.folder)
                raise

    def _record(self, arguments: Sequence[str]) -> Record:
        before = Record.read(self.folder) if self.goes_on else None
        config: Any = OmegaConf.to_container(job_part(self.config), enum_to_str=True)
        is_search = "n_trials" in self.config.hydra.sweeper
        options = [file for values in (typed.swept_values(arguments), before.typed if before else {}) for file in swept(values)]
        record = Record.of(arguments, before.seed if before else seed.drawn(), config, options, is_search=is_search)
        if before is None:
            return record
        try:
            before.check_conf(record)
            return before.extended_by(record)
        except ConfigError:
            sweep_end.forget()
            raise

    def _tell_seed(self, record: Record) -> None:
        """Says which seed is drawn for jobs in other processes, each of which would say it."""
        drawn = self.config.seed is None and "seed" not in record.typed and self.config.sweep.seed is SweepSeed.shared
        if drawn and sweep_stop.in_other_processes(self.config.hydra) and not is_quiet():
            say(seed.told(record.seed))

    def run(self, jobs: Sequence[Job]) -> Sequence[JobReturn]:
        """Runs jobs by the launcher, and returns what it tells of each.

        Raises:
            RunnerError, HydraException: a configuration cannot be composed, or the same is wrong with all; then none has begun.
        """
        if not jobs:
            return ()
        batch = [self._placed(job) for job in jobs]
        self._check(jobs, batch)
        self._launched = True
        elsewhere = sweep_stop.in_other_processes(self.config.hydra)
        with sweep_bar.below(console) if elsewhere and is_live() else nullcontext():
            returned = self._launcher.launch(batch, initial_job_idx=0)
        if elsewhere:
            for job, result in zip(jobs, returned, strict=True):
                if result.status is JobStatus.FAILED:
                    sweeps.note_failure(job.name, job.overrides, result._return_value)
        return returned

    def _check(self, jobs: Sequence[Job], batch: Sequence[Sequence[str]]) -> None:
        """Checks the configurations of jobs, of which what is typed for the launcher is in `batch`.

        Raises:
            ConfigError: one is not for this launcher, or the same is wrong with all of the first: that is not of what varies.
        """
        faults = set[str | None]()
        for job, overrides in zip(jobs, batch, strict=True):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            _check_tasks(config)
            self._check_own(config)
            if None not in faults and not self._launched:
                faults.add(_fault(config, job))
        if len(faults) == 1 and (fault := faults.pop()) is not None:
            raise ConfigError(fault)

    def _check_own(self, config: DictConfig) -> None:
        """Checks that a job writes what no other job of the sweep does: else the last one would be all that is left.

        Raises:
            ConfigError: it does not.
        """
        folder, output = _resolved(config.hydra.sweep, "subdir"), _resolved(config, "output")
        if folder is not None and (folder in ("", "..") or Path(folder).name != folder):
            raise ConfigError(f"{SUBDIR}={self._pattern} must be the name of a folder in that of the sweep, such as {NUMBER}")
        for key, value, other in ((SUBDIR, folder, f"'{NUMBER}'"), ("output", output, "'${data}.csv' where data vary")):
            if value is None or value == STANDARD:
                continue
            if (key, value) in self._taken:
                raise ConfigError(f"{key}={value} is the same for two jobs, and each needs its own: {key}={other}")
            self._taken.add((key, value))

    def tell(self, plan: Plan, count: int) -> None:
        """Says how much of a sweep that goes on is left, and has the bar know it."""
        sweep_bar.begin(self.folder, count, len(plan.jobs))
        if self.goes_on and not is_quiet():
            failed = f", {len(plan.failed)} have failed before" if plan.failed else ""
            say(f"The sweep {self.folder} goes on: {plan.done} of {count} jobs are done{failed}, {len(plan.jobs)} to go")

    def check_folders(self) -> None:
        """Checks that folders are called by the numbers of jobs, which are those of trials.

        Raises:
            ConfigError: they are not.
        """
        if self._pattern != NUMBER:
            raise ConfigError(f"{SUBDIR}={self._pattern}: the folders of a search have the numbers of its trials; leave it out")

    def _placed(self, job: Job) -> list[str]:
        """Returns the overrides of a job with its folder: to the launcher, its number is its place in the batch."""
        if (self.folder / job.name).is_dir():
            place = for_hydra(SUBDIR, job.name)
        else:
            place = f"{SUBDIR}='{self._pattern.replace(NUMBER, job.name)}'"
        return [*job.overrides, place, *_of_tasks(self.config.hydra)]


def _resolved(config: DictConfig, key: str) -> str | None:
    """Returns the text of a key; None if there is none, or it is known only when the job begins."""
    try:
        return None if config[key] is None else str(config[key])
    except OmegaConfBaseException:
        return None


def _fault(config: DictConfig, job: Job) -> str | None:
    """Returns what is wrong with the configuration of a job, as far as that can be told before it begins."""
    node = job_part(config)
    if node.snapshot is not None or node.mode is not schema.Mode.train:
        return None  # it is that of a snapshot
    try:
        schema.let_optimizer_take_over(node, keys_of(job.overrides))
        schema.from_hydra(node)
    except ConfigError as error:
        # What refers to the job's own folder, which is not there yet, is known only then.
        return None if isinstance(error.__cause__, OmegaConfBaseException) else str(error)
    return None


def _tasks(launcher: DictConfig) -> dict[str, int]:
    """Returns how many processes a launcher starts for each job: the product of these counts, by their keys.

    Raises:
        ConfigError: one is no count.
    """
    counts = {key: OmegaConf.select(launcher, key) or 1 for key in TASKS}
    for key, count in counts.items():
        if type(count) is not int or count < 1:
            raise ConfigError(f"hydra.launcher.{key}={count} must be a whole number, at least 1")
    return counts


def _check_tasks(config: DictConfig) -> None:
    """Raises a ConfigError if the processes of a job could not share it: each of them would run all of it."""
    counts, processes = _tasks(config.hydra.launcher), Processes()
    processes.size = math.prod(counts.values())
    if processes.size == 1:
        return
    typed = ", ".join(f"hydra.launcher.{key}={count}" for key, count in counts.items() if count > 1)
    if config.parallel.shards is None and not config.snapshot:
        raise ConfigError(f"{typed}: parallel.shards=N says that the {processes.size} processes of a job share it")
    if config.parallel.shards is not None:
        processes.check_shards(config.parallel.shards)
    if (config.hydra.sweeper.get("pruner") or "none") != "none":
        raise ConfigError(f"{typed}: hydra.sweeper.pruner ends jobs of one process early, and none of several")


def _of_tasks(hydra: DictConfig) -> list[str]:
    """Returns what is typed for jobs of several processes: the folder of a job is that of its first one, which writes it."""
    several, kept = max(_tasks(hydra.launcher).values()) > 1, hydra.output_subdir
    return [f"hydra.output_subdir='${{of_first_task:{kept}}}'"] if several and kept is not None else []


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from going on with the sweep in the block."""
    with ExitStack() as stack:
        for left in reversed(range(TRIES)):
            try:
                stack.enter_context(locked(folder / sweep_stop.LOCK, str(folder)))
                break
            except RunInUseError as error:
                if left:  # a job that has just looked whether somebody holds it
                    time.sleep(sweep_stop.INTERVAL)
                    continue
                raise RunInUseError(
                    f"another process goes on with the sweep {folder}: wait until it has ended, or stop it"
                ) from error
        me = Holder.me()
        sweep_stop.hold(me.host, me.process)
        yield


def check(returned: Sequence[JobReturn], failed: Sequence[Failed]) -> None:
    """Raises what the first job has failed with, if one has failed, now or before.

    Raises:
        RunError, ConfigError: one has failed before, and is not repeated.
    """
    for found in failed:
        sweeps.failures.append(f"job {found.name} has failed before: {found.error}; sweep.retry=failed repeats it")
    for result in returned:
        _ = result.return_value
    if failed:
        kind = ConfigError if failed[0].exit_code == ConfigError.exit_code else RunError
        raise kind(f"{len(failed)} jobs have failed before; sweep.retry=failed repeats them")
