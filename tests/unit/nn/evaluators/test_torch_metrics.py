"""Metrics of torchmetrics: what they say, which of them decides, and that a stop changes none of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from torch import Tensor

from runner.errors import ConfigError
from runner.nn.loading.samples import VALIDATION
from runner.snapshots.restoring.restore import header_of, restore
from tests.networks import extended, network, stopped, trained
from tests.states import differences, workflow_state
from tests.unit.nn.evaluators.test_loss import EVERY

F1 = {"_target_": "torchmetrics.F1Score", "task": "multiclass", "num_classes": 3, "average": "macro"}
AUROC = {"_target_": "torchmetrics.AUROC", "task": "multiclass", "num_classes": 3}
TRUSTED = ["tests", "torchmetrics"]


class Longest(torchmetrics.Metric):
    """A metric of one's own, without a direction: the highest output so far, and how often it was asked."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.add_state("highest", torch.tensor(0.0), dist_reduce_fx="max")

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        self.highest = torch.maximum(self.highest, outputs.max())

    def compute(self) -> Tensor:
        return self.highest * self.scale


class Plain(Longest):
    """Gives what `float()` does not take for one real number, or what is no tensor."""

    def compute(self) -> Any:
        return self.scale if isinstance(self.scale, float) else torch.tensor(1j)


class Counted(Longest):
    """Counts beside its state."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self.seen: Any = {"int": 0, "list": [], "tensor": torch.zeros(1)}[of]

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        super().update(outputs, labels)
        self.seen += [1] if isinstance(self.seen, list) else 1


def run(**more: Any) -> dict[str, Any]:
    scores = {"f1": F1, "auroc": AUROC, "longest": {"_target_": f"{__name__}.Longest", "scale": 2}}
    return EVERY["cross-entropy"] | {"scores_config": scores, "decision_config": {"max_epochs": 3, "monitor": "f1"}} | more


def test_values_are_those_of_scikit_learn(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **run())
    model = restore(workflow.snapshotter.last_location, trusted=TRUSTED).model()
    best = workflow.decision.records.epochs[2 * workflow.decision.best_epoch - 1]
    labels = workflow.loader.labels_[VALIDATION].numpy()
    with torch.no_grad():
        given = model(torch.from_numpy(workflow.loader.load_data()[VALIDATION].data)).numpy()
    assert best["f1"] == pytest.approx(f1_score(labels, given.argmax(1), average="macro"), abs=1e-6)
    assert best["auroc"] == pytest.approx(roc_auc_score(labels, given, multi_class="ovr"), abs=1e-6)
    assert best["longest"] == pytest.approx(2 * given.max(), abs=1e-6)
    assert {"loss", "error", "f1", "auroc", "longest"} <= best.keys()


def test_more_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **run(decision_config={"max_epochs": 4, "monitor": "f1"}))
    decision = workflow.decision
    found = [row["f1"] for row in decision.records.epochs if row["split"] == "validation"]
    assert decision.best == max(found)
    assert decision.best_epoch == 1 + found.index(max(found))
    assert [epoch["validation"] for epoch in decision.history] == found
    assert f"{decision.best:.4f}" in workflow.summary
    assert workflow.objective == -decision.best
    assert header_of(workflow.snapshotter.last_location).score == -decision.best
    assert workflow.evaluate().keys() == {"validation"}
    low = trained(**run(decision_config={"max_epochs": 4, "monitor": "f1", "mode": "min"})).decision
    assert (low.best, low.objective) == (min(found), min(found))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_told_once(value: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scores = {"longest": {"_target_": f"{__name__}.Longest", "scale": value}}
    decision = trained(**run(scores_config=scores, decision_config={"max_epochs": 3})).decision
    told = [record.message for record in caplog.records if record.levelname == "WARNING" and "longest" in record.message]
    assert told == [f"longest of the train set is {value} in epoch 1: it is left out"]
    assert len(decision.history) == 3


def test_the_loss_may_decide() -> None:
    decision = trained(**run(decision_config={"max_epochs": 3, "monitor": "loss"})).decision
    found = [row["loss"] for row in decision.records.epochs if row["split"] == "validation"]
    assert decision.best == min(found)


@pytest.mark.parametrize("at", [3, 8, 9, 13])
def test_a_stop_in_the_middle_of_a_split_changes_nothing(at: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", **run())
    location = stopped(tmp_path / "half", at, **run())
    again = extended(restore(location, trusted=TRUSTED).workflow, epochs=3)
    assert again.decision.records.epochs == whole.decision.records.epochs
    assert differences(workflow_state(whole), workflow_state(again)) == []


def test_a_restore_that_does_not_name_the_library_makes_no_class_of_it(tmp_path: Path) -> None:
    location = stopped(tmp_path, 3, **run(scores_config={"f1": F1}))
    workflow = restore(location, trusted=["tests"]).workflow
    with pytest.raises(ConfigError, match=r"scores\.f1.*restore.trusted=\[torchmetrics\]"):
        workflow.initialize()


def test_binary_several_labels_and_values() -> None:
    binary = {"_target_": "torchmetrics.AUROC", "task": "binary"}
    several = {"_target_": "torchmetrics.F1Score", "task": "multilabel", "num_labels": 3}
    r2 = {"_target_": "torchmetrics.R2Score"}
    for name, scores in {"binary": {"a": binary}, "several labels": {"b": several}}.items():
        row = trained(**EVERY[name] | {"scores_config": scores}).decision.records.epochs[-1]
        assert 0 < row[next(iter(scores))] <= 1
    layers = {"out": {"type": "all2all", "output_sample_shape": 6, "learning_rate": 0.1}}
    ae = trained(
        layers=layers, loss_function="mse", scores_config={"r2": r2}, decision_config={"max_epochs": 2, "monitor": "r2"}
    )
    targets = ae.loader.data_[VALIDATION].flatten(1)
    outputs = torch.nn.functional.linear(targets, ae["out"].weights, ae["out"].bias)
    assert ae.decision.history[-1]["validation"] == pytest.approx(r2_score(targets.numpy(), outputs.numpy()), abs=1e-4)
    assert np.isfinite(ae.decision.best)


WRONG = [
    ({"f1": F1 | {"average": None}}, {}, r"scores\.f1: .*shape \(3,\).*average=macro"),
    ({"f1": F1 | {"num_classes": 4}}, {}, r"scores\.f1: .*does not take outputs of shape \(3,\)"),
    ({"f1": F1 | {"classes": 4}}, {}, r"scores\.f1: .*cannot be made.*classes"),
    ({"f1": {"_target_": "torchmetrics.F1Scor"}}, {}, r"scores\.f1\._target_=.*did you mean .*F1Score"),
    ({"f1": {"_target_": "torch.nn.Linear"}}, {}, r"scores\.f1\._target_='torch.nn.Linear' is not a subclass"),
    ({"f1": {"average": "macro"}}, {}, r"scores\.f1 has no _target_"),
    ({"f1": "F1Score"}, {}, r"scores\.f1 has no _target_"),
    ({"f1": F1}, {"monitor": "f1", "mode": "MAX"}, r"decision\.mode='MAX' is unknown; did you mean 'max'"),
    *(({name: F1}, {}, rf"scores\.{name}: a score has another name") for name in ("seconds", "samples", "kind")),
    ({"loss": F1}, {}, r"scores\.loss: a score has another name"),
    ({"a.b": F1}, {}, r"scores\.a\.b: a score has another name"),
    ({"f1": F1}, {"monitor": "f11"}, r"decision\.monitor='f11' is not measured; did you mean 'f1'"),
    ({}, {"monitor": "f1"}, r"decision\.monitor='f1' is not measured"),
    (
        {"longest": {"_target_": f"{__name__}.Longest", "scale": 2}},
        {"monitor": "longest"},
        r"decision\.monitor=longest: .*Longest does not say whether .* decision\.mode=min or decision\.mode=max",
    ),
    ({}, {"mode": "max"}, r"decision\.mode=max keeps the weights with the highest error, which are the worst"),
    ({"f1": F1}, {"mode": "max", "monitor": "loss"}, r"decision\.mode=max keeps the weights with the highest loss"),
    *(
        ({"p": {"_target_": f"{__name__}.Counted", "of": of}}, {}, r"scores\.p: Counted .*: its update changes 'seen'")
        for of in ("int", "list", "tensor")
    ),
    ({"p": {"_target_": f"{__name__}.Plain", "scale": 0.5}}, {}, r"scores\.p: .*it gives 0\.5: compute\(\) returns a tensor"),
    (
        {"p": {"_target_": f"{__name__}.Plain", "scale": "j"}},
        {},
        r"scores\.p: .*1\.j.*: compute\(\) returns a tensor of one real",
    ),
    ({"r": {"_target_": "torchmetrics.text.Perplexity"}}, {}, r"scores\.r: Perplexity does not take outputs"),
]


@pytest.mark.parametrize(("scores", "decision", "told"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_before_the_first_epoch(scores: Any, decision: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        network(**run(scores_config=scores, decision_config={"max_epochs": 1} | decision)).initialize()
    assert "\n" not in str(raised.value)
