"""Runs the jobs of a sweep as tasks of Ray, on this machine or on a cluster of Ray's."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import ray
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from runner import passwords, signals
from runner.checks import first_line
from runner.cli import output, ray_processes, sweep_stop
from runner.cli.overrides import FOLDER, for_hydra
from runner.errors import ConfigError, ProcessLostError, RunError
from runner.loggers.metrics_file import MetricsFile

log = logging.getLogger(__name__)

LAST_LINES = 0.5
"""Seconds in which the last lines of jobs arrive, which nothing tells of. Ray itself waits as long when a process exits."""
ENVIRONMENT = ("HYDRA_FULL_ERROR", "NO_COLOR", "VELES_RUN_TRACEBACK", output.QUIET)
"""Variables that the processes of jobs have from this one."""


@dataclass(frozen=True)
class Task:
    """What the process of a job needs, which may be on another machine.

    Attributes:
        context, function, config: what Hydra tells a launcher.
        singletons: Hydra's own, with the resolvers.
        environment: variables.
        passwords: of connection strings.
        folder: the current one.
    """

    context: HydraContext
    function: TaskFunction
    config: DictConfig
    singletons: Any
    environment: Mapping[str, str]
    passwords: Mapping[str, list[str]] = field(repr=False)
    folder: str

    @classmethod
    def here(cls, context: HydraContext, function: TaskFunction, config: DictConfig) -> Self:
        """Returns what the processes of jobs need of this one."""
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        return cls(context, function, config, Singleton.get_state(), environment, passwords.remembered(), os.getcwd())

    def settled(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Returns the configuration of a job.

        Args:
            number: the job's.
            overrides: what is typed for it.
        """
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        return config

    def run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        """Runs a job in this process, as Hydra's own launchers do."""
        os.environ.update(self.environment)
        os.chdir(self.folder)
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        passwords.take_over(self.passwords)
        setup_globals()
        Singleton.set_state(self.singletons)
        config = self.settled(number, overrides)
        return run_job(self.function, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context)


@dataclass(frozen=True)
class Lost:
    """A job whose process is lost.

    Attributes:
        folder: the job's.
        how: what Ray calls it, or another process of the job says of it.
    """

    folder: Path
    how: str

    def __str__(self) -> str:
        return f"its process is lost ({self.how})"

    def told(self) -> JobReturn:
        """Returns how it has ended, for the sweeper."""
        return JobReturn(status=JobStatus.FAILED, _return_value=RunError(str(self)))

    def failed(self) -> JobReturn:
        """Returns the same, and leaves it in the job's folder, so that a sweep that goes on does not repeat it."""
        MetricsFile(self.folder).finish({"status": "failed", "exit_code": RunError.exit_code, "error": str(self)})
        return self.told()


def launch(
    task: Task, jobs: Mapping[int, Sequence[str]], init: Mapping[str, Any], remote: Mapping[str, Any], processes: int = 1
) -> list[JobReturn]:
    """Runs the jobs, and returns how each has ended.

    A job whose process or machine is lost begins again, and goes on from its newest snapshot.

    Args:
        task: what they have in common.
        jobs: what is typed for each, by its number.
        init: what `ray.init` is given.
        remote: the options of each task, such as `num_cpus`, and `max_retries`: how often a job begins again.
        processes: how many share each job.

    Raises:
        ConfigError: Ray does not take the settings, or there is no cluster at the address.
    """
    configure_log(task.config.hydra.hydra_logging, task.config.hydra.verbose)
    most = remote.get("max_retries", 0)
    if type(most) is not int or most < 0:
        raise ConfigError(f"hydra.launcher.ray.remote.max_retries={most} must be a whole number, at least 0")
    retries = dict.fromkeys(jobs, most)
    folder = Path(task.config.hydra.sweep.dir)
    _connect(init)
    shared, run = ray.put(task), _remote({"num_cpus": processes, **remote})
    waiting = {run.remote(shared, number, overrides, processes): number for number, overrides in jobs.items()}
    ended: dict[int, JobReturn] = {}
    while waiting:
        (reference,), _ = ray.wait(list(waiting))
        number = waiting.pop(reference)
        returned, how = _returned(reference)
        if returned is not None:
            ended[number] = returned
            continue
        lost = Lost(Path(folder, task.settled(number, jobs[number]).hydra.sweep.subdir), how)
        if sweep_stop.stop_of(folder) is not None:
            ended[number] = lost.told()
        elif not retries[number]:
            ended[number] = lost.failed()
        else:
            retries[number] -= 1
            log.warning("Job %s: %s; it begins again", lost.folder.name, lost)
            again = [*jobs[number], for_hydra(FOLDER, str(folder))]
            waiting[run.remote(shared, number, again, processes)] = number
    time.sleep(LAST_LINES)
    return [ended[number] for number in jobs]


def _returned(reference: Any) -> tuple[JobReturn | None, str]:
    """Returns how a job has ended, or None and what is said of its process, or of one of them, that is lost."""
    try:
        returned: JobReturn = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        return None, type(error).__name__
    failed = returned._return_value if returned.status is JobStatus.FAILED else None
    return (None, str(failed)) if isinstance(failed, ProcessLostError) else (returned, "")


def _remote(options: Mapping[str, Any]) -> Any:
    """Returns the function that runs a job elsewhere. Ray itself repeats nothing: it would begin from nothing."""
    try:
        return ray.remote(**{"name": "job", **options, "max_retries": 0})(_run)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.launcher.ray.remote: {first_line(error)}") from error


def _run(task: Task, number: int, overrides: Sequence[str], processes: int) -> JobReturn:
    return task.run(number, overrides) if processes == 1 else ray_processes.run(task, number, overrides, processes)


def _connect(init: Mapping[str, Any]) -> None:
    """Connects this process to Ray until it exits; with the address `local`, to a Ray of its own that ends with it.

    The processes of the latter must not have the signals that are for this one, or they would end before the jobs have taken
    their snapshots. They inherit what the thread blocks that starts them, and are killed when that ends.
    """
    if ray.is_initialized():
        return
    dashboard = {"include_dashboard": False} if init.get("address") == "local" else {}
    connected: Future[Any] = Future()

    def connect() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOPS)
        try:
            connected.set_result(ray.init(**{"logging_level": logging.ERROR, **dashboard, **init}))
        except BaseException as error:
            connected.set_exception(error)
        Event().wait()

    Thread(target=connect, name="ray", daemon=True).start()
    while not connected.done():
        wait([connected], signals.SAME / 2)
        signals.take_back()
    try:
        connected.result()
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"hydra.launcher.ray.init: {first_line(error)}") from error
