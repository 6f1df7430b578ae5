"""`mode=evaluate data=...`: how good a snapshot is on other data, as tables and as JSON."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import DictConfig
from rich.table import Table

from runner.cli import console, using
from runner.cli.request import Request
from runner.datasets import array_files
from runner.errors import ConfigError
from runner.metrics.plain import for_json
from runner.nn import StandardWorkflow
from runner.nn.evaluators.class_evaluator import ClassEvaluator
from runner.nn.inference.model import Network
from runner.nn.loading.labels import class_names, whole
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import SPLIT_NAMES
from runner.nn.loading.table_loader import TableLoader
from runner.snapshots.restoring.restore import Restored
from runner.text import shown
from runner.use import sources, writers
from runner.use.predicting import Tally, predictions
from runner.use.scores import ClassScores, Scores, Told, scores_for
from runner.use.sources import Block

log = logging.getLogger(__name__)

WIDEST = 12
"""Classes up to which the confusion matrix is shown whole."""
DIGITS = 4


class Evaluation(NamedTuple):
    """What an evaluation has come to.

    Attributes:
        objective: what is to be low.
        measure: what it measures, if anybody can tell.
        scores: by split, as log lines have them.
        exit_code: 1 if some of the data could not be read.
    """

    objective: float
    measure: str | None
    scores: Mapping[str, float]
    exit_code: int = 0


def evaluate(restored: Restored, node: DictConfig, request: Request) -> Evaluation:
    """Scores a snapshot on `data`.

    Raises:
        ConfigError: a key that has nothing to do with it was typed, or the data are not what the network takes.
        RunError: the output cannot be written.
    """
    if node.output:
        writers.check_output(node.output, (".json",))
    workflow, model = using.network_of(restored, node, request)
    loader, signature = workflow.loader, model.signature
    is_own_target = not signature.class_names and not _has_targets(loader, model, node.data)
    scores, tally = scores_for(workflow, signature, writers.value_names(signature)), Tally(told=using.Teller())
    with (
        using.stoppable() as stopping,
        sources.opened(node.data, loader, labeled=not is_own_target) as source,
        using.progress(tally),
    ):
        for block, outputs in predictions(model, source, loader.minibatch_size, tally):
            scores.add(outputs, _answers(block, model, is_own_target))
            stopping.check()
    if not tally.made:
        raise ConfigError(f"data={node.data!r}: there is nothing to score, since no sample could be read")
    tell({"data": scores})
    write(node.output, restored, {"data": scores.told()}, node.data, {"data": scores.objective})
    metric = scores.metric
    log.info("%s: %s %s %s", restored.location, node.data, metric.name, metric.text(scores.objective))
    error = scores.objective
    return Evaluation(error, workflow.measure_of("data", metric), {"data": error}, using.told_failures(tally))


def _has_targets(loader: FullBatchLoader, model: Network, data: str) -> bool:
    """Whether the network is to give other values than those of its input; says so where only the data can tell."""
    if isinstance(loader, TableLoader):
        return bool(loader.target_names)
    signature = model.signature
    if np.prod(signature.output_shape) != np.prod(signature.input_shape) or loader.target_shape != loader.sample_shape:
        return True
    if array_files.has_targets(Path(data)):
        return True
    log.info("data=%s has no targets: what the network gives is compared with the samples themselves", data)
    return False


def _answers(block: Block, model: Network, is_own_target: bool) -> npt.NDArray[Any]:
    """Returns what the outputs for a block should be."""
    samples = block.samples
    if is_own_target:
        device = next(iter(model.state_dict().values())).device
        with torch.inference_mode():
            normalized: npt.NDArray[Any] = (
                model.normalization(torch.from_numpy(np.array(samples.data)).to(device)).cpu().numpy()
            )
        return normalized
    if not model.signature.class_names:
        assert samples.targets is not None or samples.labels is not None
        return np.asarray(samples.labels if samples.targets is None else samples.targets)
    labels = np.empty(0, np.int64) if samples.labels is None else samples.labels
    return whole("given", labels, len(samples.data))


def of_evaluator(workflow: StandardWorkflow, scores: Mapping[str, float]) -> dict[str, Scores]:
    """Returns the scores that an evaluation of a workflow's own sets has left with its evaluator, by split."""
    evaluator = workflow.evaluator
    if not isinstance(evaluator, ClassEvaluator) or evaluator.outputs_are == "values":
        return {}
    found = {split: evaluator.confusion.get(split) for split in scores}
    return {
        split: ClassScores.of_confusion(tuple(class_names(workflow.loader.label_names, len(counts))), counts.cpu().numpy())
        for split, counts in found.items()
        if counts is not None
    }


def measured_told(workflow: StandardWorkflow, scores: Mapping[str, Scores]) -> dict[str, Told]:
    """Returns what an evaluation of a workflow's own sets has measured, by split, with what its scores tell besides."""
    found: dict[str, Told] = {}
    for split, measured in workflow.measured_.items():
        metric = workflow.evaluator.metric.name
        plain = {"samples": workflow.loader.split_lengths[SPLIT_NAMES.index(split)], metric.lower(): measured[metric]}
        further = {name: value for name, value in measured.items() if name not in ("loss", metric)}
        known = plain | {"loss": measured["loss"]} | ({"scores": further} if further else {})
        found[split] = known | (scores[split].told() if split in scores else {})
    return found


def write(
    output: str | None, restored: Restored, splits: Mapping[str, Told], data: str | None, errors: Mapping[str, float]
) -> None:
    """Writes scores as JSON, if an output is asked for.

    Args:
        output: the file, or `-`.
        restored: what was scored.
        splits: all scores by split; that of `data` is called so.
        data: what was typed, if anything.
        errors: the error of each split, as log lines have it.
    """
    if output is None:
        return
    header = restored.header
    about = {"snapshot": restored.location, "uuid": header.uuid, "workflow": header.workflow, "epoch": header.epoch}
    known = {split: error if math.isfinite(error) else None for split, error in errors.items()}
    told = about | {"data": data, "errors": known, "splits": dict(splits)}
    with writers.written(output) as file:
        file.write(json.dumps(for_json(told), indent=2, allow_nan=False).encode() + b"\n")


def tell(scores: Mapping[str, Scores]) -> None:
    """Prints scores as tables."""
    if console.is_quiet():
        return
    for found in scores.values():
        told = found.told()
        further = {f"scores.{name}": value for name, value in told.get("scores", {}).items()}
        plain = {name: value for name, value in told.items() if not isinstance(value, list | dict) and value is not None}
        rows = [*plain.items(), *further.items()]
        _print(("metric", "value"), [(name, _text(value)) for name, value in rows])
        details = found.classes()
        if len(details) > 1 and details[0].keys():
            _print(tuple(details[0]), [tuple(map(_text, item.values())) for item in details])
        if isinstance(found, ClassScores):
            _tell_confusion(found)


def _tell_confusion(scores: ClassScores) -> None:
    if scores.confusion is not None and len(scores.names) <= WIDEST:
        rows = [(name, *map(str, counts)) for name, counts in zip(scores.names, scores.confusion.tolist(), strict=True)]
        _print(("right \\ answer", *scores.names), rows)
    elif confused := scores.confused():
        _print(("right", "answer", "times"), [(right, answer, str(count)) for right, answer, count in confused])


def _text(value: object) -> str:
    return "" if value is None else f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)


def _print(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*map(shown, titles))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(shown, row))
    console.console.print(table)
