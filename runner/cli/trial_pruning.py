"""Ends a job of a search early whose errors say that it will not be among the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from runner.loggers.logger import Logger, Run
from runner.metrics import Row

if TYPE_CHECKING:
    import optuna

PRUNED = "pruned"


class Pruning(Logger):
    """Reports the error of each epoch to the study, and ends the run where the study's pruner says so.

    A run that goes on begins with the epochs before: one that was to be ended, and was killed, ends at once.

    Args:
        trial: the job's.
        split: returns whose error counts, once the run has begun.
        end: ends the run.
    """

    def __init__(self, trial: optuna.Trial, split: Callable[[], str], end: Callable[[str], None]) -> None:
        self._trial = trial
        self._split = split
        self._end = end

    def begin(self, run: Run, rows: Sequence[Row]) -> None:
        for row in rows:
            self.log(row)

    def log(self, row: Row) -> None:
        value = row.get("error", row.get("loss"))
        if row.get("kind") != "epoch" or row.get("split") != self._split() or value is None:
            return
        reported = self._trial.storage.get_trial(self._trial._trial_id).intermediate_values
        if row["epoch"] not in reported:
            self._trial.report(float(value), int(row["epoch"]))
        # A run that goes on from before its last report is ended where it would have been.
        if row["epoch"] >= max(reported, default=0) and self._trial.should_prune():
            self._end(PRUNED)


def of_job(split: Callable[[], str], end: Callable[[str], None]) -> list[Logger]:
    """Returns what prunes this job, if it is one of a search that prunes.

    Args:
        split: returns whose error counts, once the run has begun.
        end: ends the run.
    """
    hydra = HydraConfig.get()
    settings: Mapping[str, Any] = OmegaConf.to_container(hydra.sweeper)  # type: ignore[assignment]
    if settings.get("pruner", "none") == "none" or not str(settings["_target_"]).endswith(".Search"):
        return []
    from runner.cli.sweeping import study as studies

    study = studies.opened(Path(hydra.sweep.dir), settings["storage"], settings["pruner"], settings["pruner_arguments"])
    return [Pruning(studies.trial_of(study, int(Path(hydra.runtime.output_dir).name)), split, end)]
