"""`mode=evaluate`: how good a snapshot is, on other data or on the sets of its own run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner import build, passwords
from runner import config as schema
from runner.cli import console, run_folder, scoring, source
from runner.cli.request import Request
from runner.cli.scoring import Evaluation
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.launcher import Launcher
from runner.loggers.metrics_file import MetricsFile
from runner.nn import StandardWorkflow
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.stores.file_system import read_mode
from runner.use import writers
from runner.use.scores import Told

log = logging.getLogger(__name__)


def evaluate(restored: Restored, node: DictConfig, request: Request) -> tuple[float, int]:
    """Scores a snapshot on `data`, or on the sets of its own run; returns its error, and the exit code.

    Raises:
        ConfigError: a key that has nothing to do with it was typed, or there is nothing to score it on.
        RunError: the output cannot be written.
    """
    found = (scoring.evaluate if node.data else _own_scores)(restored, node, request)
    _keep_scores(restored, node, request, found)
    return found.objective, found.exit_code


def _own_scores(restored: Restored, node: DictConfig, request: Request) -> Evaluation:
    """Scores a snapshot on the sets of its own run, with what was typed for the loader."""
    workflow = restored.workflow
    run_folder.permit(request.output_dir, read_mode(node.snapshotter.mode))
    if node.output:
        writers.check_output(node.output, (".json",))
    source.allow_changed_data(workflow, node.restore.allow_changed_data)
    if typed := request.scoring_overrides:
        before = source.snapshot_config(restored, node, request)
        now = source.overridden(before, typed, node)
        build.check_scorable(workflow, source.differing(before, now))
        if changes := build.score_with(workflow, schema.from_hydra(before), schema.from_hydra(now)):
            console.print_changes(changes)
            _check_counted(workflow, changes)
    Launcher(device=node.device, threads=node.threads).prepare(workflow)
    scores = workflow.evaluate()
    if not scores:
        raise ConfigError(
            f"mode=evaluate: the run of {restored.location!r} has no validation set to score it on (loader.validation_file,"
            " loader.validation_dir or loader.validation_ratio gives one)"
        )
    _tell_scores(restored, node.output, scores)
    split, objective = next(iter(scores.items()))
    if not isinstance(workflow, StandardWorkflow):
        return Evaluation(objective, workflow.measure, scores)
    decision = workflow.decision
    return Evaluation(-objective if decision.metric.higher else objective, workflow.measure_of(split, decision.metric), scores)


def _check_counted(workflow: Workflow, changes: Iterable[str]) -> None:
    """Raises a ConfigError for keys that have changed and do not matter: of a split that there is not, or of the training set
    where the set that is scored is not taken from it."""
    if not isinstance(workflow, StandardWorkflow):
        return
    if "loader.split_seed" in changes and not workflow.loader.validation_ratio:
        raise ConfigError("loader.split_seed changes nothing without loader.validation_ratio: nothing is split; leave it out")
    if not workflow.loader.needs_training_set:
        for key in changes:
            section, _, name = key.partition(".")
            if section == "loader" and name.partition(".")[0] in workflow.loader.of_training_set:
                raise ConfigError(
                    f"{key} changes nothing with mode=evaluate: it is of the training set, and the validation set, which is"
                    " scored, is not taken from that; data=FILE scores any data"
                )


def _keep_scores(restored: Restored, node: DictConfig, request: Request, found: Evaluation) -> None:
    """Writes the result of an evaluation where its folder stays, as that of a job of a sweep does."""
    if run_folder.is_passing(HydraConfig.get().runtime.output_dir):
        return
    result = {
        "status": "finished",
        "exit_code": found.exit_code,
        "mode": "evaluate",
        "objective": found.objective,
        "measure": found.measure,
        "scores": found.scores,
        "snapshot": passwords.redact(restored.location),
    }
    MetricsFile(request.output_dir, read_mode(node.snapshotter.mode)).finish(result)


def _tell_scores(restored: Restored, output: str | None, scores: Mapping[str, float]) -> None:
    workflow = restored.workflow
    if output is not None:
        told: dict[str, Told] = {}
        if isinstance(workflow, StandardWorkflow):
            details = scoring.of_evaluator(workflow, scores)
            scoring.tell(details)
            told = scoring.measured_told(workflow, details)
        scoring.write(output, restored, told, None, errors=dict(scores))
    log.info("%s: %s", restored.location, workflow.scores_text(scores))
