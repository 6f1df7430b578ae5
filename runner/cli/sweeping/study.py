"""The study of a search: Optuna's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna import pruners, samplers
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from runner.checks import choices
from runner.cli.sweeping import study_place
from runner.errors import ConfigError

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
OBJECTIVES = "objectives"
"""The attribute of a study that has the names of what is optimized."""


def begun(
    folder: Path,
    url: str | None,
    seed: int,
    objectives: Mapping[str, str],
    pruner: str,
    arguments: Mapping[str, Any] | None,
) -> optuna.Study:
    """Opens the study of a sweep, or makes it.

    Args:
        folder: the sweep's.
        url: that of the database in which it is, as `passwords.conceal_url` returned it; None for a journal in the folder.
        seed: what was drawn for the sweep.
        objectives: `minimize` or `maximize`, for each name of what is optimized.
        pruner: the name of the pruner.
        arguments: of the pruner.

    Raises:
        ConfigError: the study has other objectives, is not there any more, or cannot be reached; or the pruner does not know an
            argument.
    """
    made = _made("pruner", PRUNERS, pruner, arguments or {})
    name, place = study_place.name_of(folder, url, seed), study_place.storage(folder, url)
    names, directions = list(objectives), list(objectives.values())
    if study_place.is_known(folder):
        study = _loaded(place, name, made, url)
    else:
        ways = [StudyDirection[direction.upper()] for direction in directions]
        study = optuna.create_study(storage=place, study_name=name, directions=ways, pruner=made, load_if_exists=True)
        if url is not None:
            study_place.note(folder, url, name)
    if (before := study.user_attrs.get(OBJECTIVES, names)) != names:
        raise ConfigError(
            f"the study in {folder} has the objectives {', '.join(before)}, and here {', '.join(names)} are typed"
        )
    if OBJECTIVES not in study.user_attrs:
        study.set_user_attr(OBJECTIVES, names)
    had = [direction.name.lower() for direction in study.directions]
    if had != directions:
        raise ConfigError(
            f"the study in {folder} has the directions {', '.join(had)}, and here {', '.join(directions)} are typed"
        )
    return study


def opened(folder: Path, url: str | None, pruner: str, arguments: Mapping[str, Any] | None) -> optuna.Study:
    """Opens the study of a sweep for a job: it is there. The arguments are as in `begun`.

    Raises:
        ConfigError: it cannot be reached.
    """
    place = study_place.storage(folder, url, patient=True)
    name = study_place.name_of(folder, url, 0)
    return _loaded(place, name, _made("pruner", PRUNERS, pruner, arguments or {}), url)


def _loaded(place: BaseStorage, name: str, pruner: pruners.BasePruner, url: str | None) -> optuna.Study:
    try:
        return optuna.load_study(storage=place, study_name=name, pruner=pruner)
    except KeyError as error:
        raise ConfigError(f"hydra.sweeper.storage={url} has no study {name!r}, with which this sweep began") from error


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

    It is drawn in a copy: so all of it is one line of the journal, or one transaction, which a kill leaves whole or not at all.

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
