"""The study of a search: Optuna's, in a journal in the sweep's folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna import pruners, samplers
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # Optuna's page on locks names it, and exports it nowhere
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from runner.checks import choices
from runner.errors import ConfigError

JOURNAL = "study.journal"
NAME = "sweep"
GRID = "grid"
SAMPLERS = {
    "tpe": samplers.TPESampler,
    "cmaes": samplers.CmaEsSampler,
    "random": samplers.RandomSampler,
    GRID: samplers.RandomSampler,  # what is left to it if the grid is exhausted: nothing
}
PRUNERS = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
}


class _Lock(BaseJournalFileLock):
    """A lock of the kernel's, so that a killed process holds nothing up, where Optuna's own would for half a minute.

    Whoever has it takes away half a line, which a power failure may have left and on which Optuna would stumble.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_name(f".{path.name}.lock")
        self._descriptor = -1

    def acquire(self) -> bool:
        self._descriptor = os.open(
            self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end and not _ends_a_line(file, end):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        os.close(self._descriptor)


def _ends_a_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return bool(file.read(1) == b"\n")


def opened(folder: Path, directions: Sequence[str], pruner: str, arguments: Mapping[str, Any] | None) -> optuna.Study:
    """Opens the study in a sweep's folder, or makes it.

    Args:
        folder: the sweep's.
        directions: `minimize` or `maximize`, for each objective.
        pruner: the name of the pruner.
        arguments: of the pruner.

    Raises:
        ConfigError: the study has other objectives, or the pruner does not know an argument.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    path = folder / JOURNAL
    storage = JournalStorage(JournalFileBackend(str(path), _Lock(path)))
    study = optuna.create_study(
        storage=storage,
        study_name=NAME,
        directions=[StudyDirection[name.upper()] for name in directions],
        pruner=_made("pruner", PRUNERS, pruner, arguments or {}),
        load_if_exists=True,
    )
    had = [direction.name.lower() for direction in study.directions]
    if had != list(directions):
        raise ConfigError(
            f"the study in {folder} has the directions {', '.join(had)}, and here {', '.join(directions)} are typed"
        )
    return study


def sampler(name: str, seed: int, number: int, arguments: Mapping[str, Any] | None) -> samplers.BaseSampler:
    """Returns the sampler for a trial.

    Each trial has a new one, with a seed made of the search's and its number: what it draws does not depend on whether the
    search was interrupted before.

    Raises:
        ConfigError: it is not known, or does not know an argument.
    """
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return _made("sampler", SAMPLERS, name, {**(arguments or {}), "seed": int.from_bytes(digest[:4])})  # type: ignore[no-any-return]


def ask(
    study: optuna.Study, distributions: dict[str, BaseDistribution], values: Mapping[str, Any] | None = None
) -> FrozenTrial:
    """Adds a trial that runs, with the values that the sampler draws.

    It is drawn in a copy: so all of it is one line of the journal, which a kill leaves whole or not at all.

    Args:
        study: the study, with its sampler.
        distributions: what is varied, by key.
        values: what is taken instead of what the sampler would draw; None to have it draw.
    """
    draft = optuna.create_study(storage=InMemoryStorage(), directions=study.directions, sampler=study.sampler)
    draft.add_trials(study.get_trials(deepcopy=False))
    if values is not None:
        draft.enqueue_trial(dict(values))
    drawn = draft.ask(distributions)
    frozen = draft.get_trials(deepcopy=False)[drawn.number]
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=frozen.params,
            distributions=distributions,
            system_attrs=dict(draft._storage.get_trial_system_attrs(frozen._trial_id)),
        )
    )
    return study.get_trials(deepcopy=False)[drawn.number]


def trial_of(study: optuna.Study, number: int) -> Trial:
    """Returns the trial of a job, to which its errors are reported.

    Raises:
        LookupError: there is none.
    """
    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def directions(typed: str | Sequence[str], count: int) -> list[str]:
    """Returns the direction of each objective.

    Raises:
        ConfigError: one is not known, or there is not one for each.
    """
    found = [typed] * count if isinstance(typed, str) else list(typed)
    for name in found:
        if name not in _DIRECTIONS:
            raise ConfigError(f"hydra.sweeper.direction={name} is not known; {choices(name, _DIRECTIONS)}")
    if len(found) != count:
        raise ConfigError(f"hydra.sweeper.direction has {len(found)} directions, and hydra.sweeper.objectives has {count}")
    return found


_DIRECTIONS = [direction.name.lower() for direction in StudyDirection if direction is not StudyDirection.NOT_SET]


def _made(kind: str, classes: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> Any:
    if name not in classes:
        raise ConfigError(f"hydra.sweeper.{kind}={name} is not known; {choices(name, list(classes))}")
    try:
        return classes[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.{kind}_arguments: {error}") from error
