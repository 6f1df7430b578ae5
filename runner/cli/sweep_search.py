"""A search: each job is a trial, whose values Optuna chooses by what the trials before have come to.

Trials are drawn, run and told in batches of `n_jobs`, so that what is drawn does not depend on which of them is the quickest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import NoneType
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from runner.checks import choices
from runner.cli import sweep_end
from runner.cli.console import is_quiet
from runner.cli.shelf.printing import say
from runner.cli.sweep_running import Running, check
from runner.cli.sweeping import study as studies
from runner.cli.sweeping.jobs import DONE, Job, Plan, failed_before
from runner.cli.sweeping.space import Space
from runner.config.sweeping import Retry
from runner.errors import ConfigError
from runner.flat import flattened
from runner.metrics.run_files import read_result
from runner.report.folder_files import number
from runner.report.goal import named_number

MOST = 20
"""Trials, if nothing else is typed; a grid has as many as it has combinations."""


_NAMES = (str, Sequence)
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "n_trials": ((int, NoneType), "a whole number"),
    "n_jobs": ((int,), "a whole number"),
    "seed": ((int, NoneType), "a whole number"),
    "objectives": (_NAMES, "a name of result.json, or a list of them"),
    "direction": (_NAMES, "minimize or maximize, or a list with one for each objective"),
    "sampler_arguments": ((Mapping, NoneType), "a mapping: {KEY: VALUE}"),
    "pruner_arguments": ((Mapping, NoneType), "a mapping: {KEY: VALUE}"),
}
"""For each setting the kinds of values that it may have, and what that is called."""
_NOT_REACHED = ("exit_code", "seed", "snapshot_cost.")
"""How names of numbers in `result.json` begin that no run is measured by."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is typed below `hydra.sweeper`.

    Attributes:
        n_trials: trials in all.
        n_jobs: trials of a batch, which the launcher is given together.
        sampler, sampler_arguments: which sampler, and what Optuna's class is given.
        pruner, pruner_arguments: which pruner, and what Optuna's class is given.
        objectives: what is optimized: a name in `result.json`, or several, such as `objective` or `best.validation.loss`.
        direction: `minimize` or `maximize`, or one for each objective.
        seed: of what is drawn. Default: the sweep's.
    """

    n_trials: int | None
    n_jobs: int
    sampler: str
    sampler_arguments: Mapping[str, Any] | None
    pruner: str
    pruner_arguments: Mapping[str, Any] | None
    objectives: str | Sequence[str]
    direction: str | Sequence[str]
    seed: int | None

    @property
    def names(self) -> list[str]:
        """What is optimized."""
        return [self.objectives] if isinstance(self.objectives, str) else list(self.objectives)

    def check(self) -> None:
        """Checks what goes together.

        Raises:
            ConfigError: it does not.
        """
        for name, (kinds, what) in _KINDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ConfigError(f"hydra.sweeper.{name}={'null' if value is None else value} must be {what}")
        for name, value in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if value is not None and value < 1:
                raise ConfigError(f"hydra.sweeper.{name}={value} must be at least 1")
        if not self.names:
            raise ConfigError("hydra.sweeper.objectives=[] names nothing that could be optimized")
        if twice := next((name for name in self.names if self.names.count(name) > 1), None):
            raise ConfigError(f"hydra.sweeper.objectives names {twice} twice: once is enough")
        if self.pruner != "none" and len(self.names) > 1:
            raise ConfigError(f"hydra.sweeper.pruner={self.pruner} is for one objective, and there are {len(self.names)}")


def search(running: Running, arguments: Sequence[str], settings: Settings) -> Sequence[JobReturn]:
    """Runs trials until there are enough; returns what the launcher tells of them.

    Raises:
        RunnerError, HydraException: a job has failed, or an argument is wrong.
    """
    settings.check()
    running.check_folders()
    if running.config.sweep.retry is not Retry.none:
        raise ConfigError("sweep.retry=failed is not for a search, which has drawn its values from what has failed")
    space = Space.of(arguments, OverridesParser.create(config_loader=running.context.config_loader))
    grid = space.grid() if settings.sampler == studies.GRID else None
    count = settings.n_trials or (len(grid) if grid else MOST)
    count = min(count, len(grid)) if grid else count
    directions = studies.directions(settings.direction, len(settings.names))
    objectives = dict(zip(settings.names, directions, strict=True))
    studies.sampler(settings.sampler, 0, 0, settings.sampler_arguments)  # so that a wrong one is told before anything is made
    hydra: Any = OmegaConf.to_container(running.config.hydra.sweeper)
    url: str | None = hydra["storage"]
    with running.begun(arguments) as record, _told(url):
        study = studies.begun(running.folder, url, record.seed, objectives, settings.pruner, settings.pruner_arguments)
        seed = record.seed if settings.seed is None else settings.seed
        trials, returned = study.get_trials(deepcopy=False), list[JobReturn]()
        ended = [trial for trial in trials if trial.state.is_finished()]
        count = max(count, len(ended))  # fewer may be typed than there are
        sweep_end.plan(count)
        failed = [failed_before(running.folder, str(trial.number)) for trial in ended if trial.state is TrialState.FAIL]
        running.tell(Plan([Job(str(at), ()) for at in range(len(ended), count)], len(ended) - len(failed), failed), count)
        while batch := _batch(study, space, grid, count, seed, settings):
            jobs = [Job(str(trial.number), space.overrides(trial.params)) for trial in batch]
            returned += running.run([job for job in jobs if not _has_ended(running, job.name)])
            if not all(_is_told(study, running, trial, seed, settings) for trial in batch):
                break  # they were stopped in other processes
        _tell_front(study)
        check(returned, failed)
    return returned


def _told(url: str | None) -> AbstractContextManager[None]:
    """Has the block say in one line if it cannot reach the study in a database."""
    if url is None:
        return nullcontext()
    from runner.cli.sweeping import study_database

    return study_database.told(url)


def _batch(
    study: optuna.Study,
    space: Space,
    grid: Sequence[Mapping[str, Any]] | None,
    count: int,
    seed: int,
    settings: Settings,
) -> list[FrozenTrial]:
    """Returns the trials to be run: those that were cut short, and new ones until the batch is full."""
    trials = study.get_trials(deepcopy=False)
    batch = [trial for trial in trials if not trial.state.is_finished()]
    while len(trials) < count and (not batch or len(trials) % settings.n_jobs):
        at = len(trials)
        study.sampler = studies.sampler(settings.sampler, seed, at, settings.sampler_arguments)
        batch.append(studies.ask(study, space.distributions, grid[at] if grid else None))
        trials = study.get_trials(deepcopy=False)
    return batch


def _has_ended(running: Running, job: str) -> bool:
    folder = running.folder / job
    return folder.is_dir() and (read_result(folder) or {}).get("status") in (*DONE, "failed")


def _is_told(study: optuna.Study, running: Running, trial: FrozenTrial, seed: int, settings: Settings) -> bool:
    """Tells the study how a trial has ended; returns whether it has."""
    if not _has_ended(running, str(trial.number)):
        return False
    result = read_result(running.folder / str(trial.number)) or {}
    values = [named_number(result, name) for name in settings.names]
    if result["status"] == "finished":
        _check_names(study, trial.number, result, settings.names)
    study.sampler = studies.sampler(settings.sampler, seed, trial.number, settings.sampler_arguments)
    if result["status"] == "pruned":
        study.tell(trial.number, state=TrialState.PRUNED)
    elif result["status"] == "failed" or None in values:
        study.tell(trial.number, state=TrialState.FAIL)
    else:
        study.tell(trial.number, [value for value in values if value is not None])
    return True


def _check_names(study: optuna.Study, job: int, result: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises a ConfigError if what is optimized is no number in the result of the first job: others will hardly have it."""
    if any(trial.state is TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return
    known = flattened(result)
    numbers = [name for name, value in known.items() if number(value) is not None and not name.startswith(_NOT_REACHED)]
    for name in names:
        if not isinstance(known.get(name, ""), int | float | NoneType):
            raise ConfigError(
                f"hydra.sweeper.objectives={name}: result.json of job {job} has no such number; {choices(name, numbers)}"
            )


def _tell_front(study: optuna.Study) -> None:
    """Says which trials are the best ones, where there are several objectives."""
    if len(study.directions) > 1 and not is_quiet() and study.best_trials:
        say(f"Pareto front: jobs {', '.join(str(trial.number) for trial in study.best_trials)}")
