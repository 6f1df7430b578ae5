"""Runs the jobs of a sweep as tasks of Ray, on this machine or on a cluster of Ray's."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import ray
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from runner import passwords, signals
from runner.checks import first_line
from runner.cli import output, sweep_stop
from runner.cli.overrides import FOLDER, as_override
from runner.errors import ConfigError, RunError
from runner.loggers.metrics_file import MetricsFile

log = logging.getLogger(__name__)

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
    passwords: Mapping[str, list[str]]
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


def launch(
    task: Task, jobs: Mapping[int, Sequence[str]], init: Mapping[str, Any], remote: Mapping[str, Any]
) -> list[JobReturn]:
    """Runs the jobs, and returns how each has ended.

    A job whose process or machine is lost begins again, and goes on from its newest snapshot.

    Args:
        task: what they have in common.
        jobs: what is typed for each, by its number.
        init: what `ray.init` is given.
        remote: the options of each task, such as `num_cpus`, and `max_retries`: how often a job begins again.

    Raises:
        ConfigError: Ray does not take the settings, or there is no cluster at the address.
    """
    configure_log(task.config.hydra.hydra_logging, task.config.hydra.verbose)
    retries = dict.fromkeys(jobs, int(remote.get("max_retries", 0)))
    folder = Path(task.config.hydra.sweep.dir)
    ended: dict[int, JobReturn] = {}
    with _connected(init):
        shared, run = ray.put(task), _remote(remote)

        def begin(number: int, overrides: Sequence[str]) -> Any:
            return run.options(name=f"job {number}").remote(shared, number, overrides)

        waiting = {begin(number, overrides): number for number, overrides in jobs.items()}
        while waiting:
            (reference,), _ = ray.wait(list(waiting))
            number = waiting.pop(reference)
            try:
                ended[number] = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                if not retries[number] or sweep_stop.stop_of(folder) is not None:
                    ended[number] = _lost(task.settled(number, jobs[number]), error)
                    continue
                retries[number] -= 1
                log.warning("Job %s: its process is lost (%s); it begins again", number, _kind(error))
                waiting[begin(number, [*jobs[number], as_override(FOLDER, str(folder))])] = number
    return [ended[number] for number in jobs]


def _remote(options: Mapping[str, Any]) -> Any:
    """Returns the function that runs a job elsewhere. Ray itself repeats nothing: it would begin from nothing."""
    try:
        return ray.remote(**{**options, "max_retries": 0})(_run)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.launcher.ray.remote: {first_line(error)}") from error


def _run(task: Task, number: int, overrides: Sequence[str]) -> JobReturn:
    return task.run(number, overrides)


@contextmanager
def _connected(init: Mapping[str, Any]) -> Iterator[None]:
    """Keeps a connection to Ray while the block runs; without an address, to a Ray of its own that ends with the block.

    The processes of the latter must not have the signals that are for this one, or they would end before the jobs have taken
    their snapshots. They inherit what the thread blocks that starts them, and end when it does.
    """
    dashboard = {} if "address" in init else {"include_dashboard": False}
    settings = {"logging_level": logging.ERROR, **dashboard, **init}
    with ThreadPoolExecutor(1, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, signals.STOPS)) as thread:
        starting = thread.submit(partial(ray.init, **settings))
        while not starting.done():
            wait([starting], signals.SAME / 2)
            signals.take_back()
        try:
            starting.result()
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"hydra.launcher.ray.init: {first_line(error)}") from error
        try:
            yield
        finally:
            thread.submit(ray.shutdown).result()


def _lost(config: DictConfig, error: Exception) -> JobReturn:
    """Returns the end of a job whose process is lost, and leaves it in the job's folder."""
    told = RunError(f"the job's process is lost ({_kind(error)})")
    folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
    MetricsFile(folder).finish({"status": "failed", "exit_code": told.exit_code, "error": str(told)})
    return JobReturn(status=JobStatus.FAILED, _return_value=told)


def _kind(error: Exception) -> str:
    return type(error).__name__
