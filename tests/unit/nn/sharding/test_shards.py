"""Minibatches in shards, on one process: what they compute, and what cannot be computed in shards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from runner.errors import ConfigError
from runner.graph import Unit
from runner.nn.loading.samples import TRAIN
from runner.nn.sharding.rows import rows_of
from runner.snapshots.restoring.restore import restore
from tests.networks import extended, network, trained
from tests.states import differences, workflow_state

PLAIN = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8, "learning_rate": 0.1},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
}


@pytest.mark.parametrize("samples", [0, 1, 3, 8, 9, 100])
def test_each_row_is_in_one_shard(samples: int) -> None:
    rows = [row for shard in range(8) for row in range(samples)[rows_of(shard, samples, 8)]]
    sizes = [len(range(samples)[rows_of(shard, samples, 8)]) for shard in range(8)]
    assert rows == list(range(samples))
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_gradients_are_summed_in_the_order_of_a_tree() -> None:
    """One step by torch alone: the gradient of each shard by itself, then pairs, and pairs of pairs."""
    workflow = network(layers=PLAIN, shards=4, loader_config={"minibatch_size": 50}, decision_config={"max_epochs": 1})
    workflow.initialize()
    before = [value.clone().requires_grad_() for unit in workflow.forwards for value in (unit.weights, unit.bias)]
    workflow.run()
    chosen = workflow.loader.permutation.long()
    data, labels = workflow.loader.data_[TRAIN][chosen], workflow.loader.labels_[TRAIN][chosen]
    shards = []
    for rows in (slice(0, 13), slice(13, 26), slice(26, 38), slice(38, 50)):
        hidden = 1.7159 * torch.tanh(0.6666 * functional.linear(data[rows].flatten(1), *before[:2]))
        loss = functional.cross_entropy(functional.linear(hidden, *before[2:]), labels[rows], reduction="sum") / 50
        shards.append(torch.autograd.grad(loss, before))
    for number, value in enumerate([value for unit in workflow.forwards for value in (unit.weights, unit.bias)]):
        a, b, c, d = (gradients[number] for gradients in shards)
        torch.testing.assert_close(value, before[number].detach() - 0.1 * ((a + b) + (c + d)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shards", [1, 2, 16])
def test_it_learns_what_it_learns_without_shards(shards: int) -> None:
    whole, cut = trained(layers=PLAIN), trained(layers=PLAIN, shards=shards)
    assert [set(errors) for errors in cut.decision.history] == [set(errors) for errors in whole.decision.history]
    for mine, other in zip(cut.forwards, whole.forwards, strict=True):
        torch.testing.assert_close(mine.weights, other.weights, rtol=1e-4, atol=1e-5)


OF_CLASSES = {"task": "multiclass", "num_classes": 3}


class Tied(torch.nn.Module):
    """Has one parameter under two names, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.there = torch.nn.Linear(6, 6)
        self.back = torch.nn.Linear(6, 6, bias=False)
        self.back.weight = self.there.weight
        self.register_buffer("steps", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += torch.tensor([1.0, len(x)])
        return self.back(torch.tanh(self.there(x.flatten(1))))


def test_parameters_with_two_names_learn() -> None:
    layers = {
        "tied": {"_target_": f"{__name__}.Tied", "learning_rate": 0.1},
        "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
    }
    whole, cut = trained(layers=layers), trained(layers=layers, shards=4)
    mine, other = (workflow.forwards[0].module for workflow in (cut, whole))
    torch.testing.assert_close(mine.there.weight, other.there.weight, rtol=1e-4, atol=1e-5)
    assert mine.back.weight is mine.there.weight
    torch.testing.assert_close(mine.steps, torch.tensor([21.0, 3 * (6 * 2 + 2 / 2)]))  # the mean change of shards


class Drawing(torch.nn.Module):
    """A loss that learns a point for each class, draws noise, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.points = torch.nn.Parameter(torch.eye(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        noise = torch.rand(3) / 100 if self.training else 0
        return functional.cross_entropy(-torch.cdist(outputs, self.points + noise), labels)


NETWORKS: dict[str, dict[str, Any]] = {
    "momentum and dropout": {},
    "adamw": {
        "optimizer_config": {"_target_": "torch.optim.AdamW", "lr": 0.01},
        "layers": {
            "fc1": {"type": "all2all_relu", "output_sample_shape": 8},
            "out": {"type": "softmax", "output_sample_shape": 3},
        },
    },
    "all that an optimizer has": {
        "optimizer_config": {
            "_target_": "torch.optim.AdamW",
            "lr": 0.01,
            "accumulate": 3,
            "clip_norm": 0.5,
            "groups": [{"pattern": "*.bias", "weight_decay": 0.0}],
        },
        "scheduler_config": {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9},
        "freeze": ["fc1.bias"],
        "ema": 0.9,
        "layers": {
            "fc1": {"type": "all2all_relu", "output_sample_shape": 8},
            "out": {"type": "softmax", "output_sample_shape": 3},
        },
    },
    "a loss that learns, draws and counts, and scores": {
        "loss_config": {"_target_": f"{__name__}.Drawing"},
        "layers": {
            "flat": {"_target_": "torch.nn.Flatten"},
            "out": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 3},
        },
        "optimizer_config": {"_target_": "torch.optim.AdamW", "lr": 0.01},
        "scores_config": {
            "f1": {"_target_": "torchmetrics.F1Score", "task": "multiclass", "num_classes": 3, "average": "macro"}
        },
    },
    "roll-back": {"rollback_config": {"fail_iterations": 1}, "decision_config": {"max_epochs": 4}},
}


def test_an_optimizer_does_with_shards_what_it_does_without() -> None:
    settings = NETWORKS["all that an optimizer has"]
    whole, cut = trained(**settings), trained(**settings, shards=4)
    for mine, other in zip(cut.forwards, whole.forwards, strict=True):
        torch.testing.assert_close(mine.weights, other.weights, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.bias, other.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=list(NETWORKS))
def test_a_run_goes_on_from_each_snapshot_to_the_same_bits(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = settings | {"decision_config": {"max_epochs": 4}}
    whole = trained(tmp_path, shards=4, **settings)
    for path in tmp_path.glob("*.pickle"):
        restored = restore(path, trusted=["tests", "torchmetrics"]).workflow
        assert differences(workflow_state(extended(restored, 4)), workflow_state(whole)) == []


SUMMED: dict[str, Any] = {
    "layers": {
        "flat": {"_target_": "torch.nn.Flatten"},
        "out": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 3},
    },
    "loss_config": {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1},
    "optimizer_config": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "scores_config": {name: {"_target_": f"torchmetrics.{name}", **OF_CLASSES} for name in ("F1Score", "AUROC")},
}


def test_a_loss_of_torch_and_scores_are_with_shards_what_they_are_without() -> None:
    whole, cut = trained(**SUMMED), trained(**SUMMED, shards=4)
    torch.testing.assert_close(cut.forwards[1].module.weight, whole.forwards[1].module.weight, rtol=1e-4, atol=1e-5)
    for mine, other in zip(cut.decision.records.epochs, whole.decision.records.epochs, strict=True):
        for name in ("loss", "error", "F1Score", "AUROC"):
            assert mine[name] == pytest.approx(other[name], rel=1e-4)


def test_a_snapshot_named_after_an_error_scores_exactly_that(tmp_path: Path) -> None:
    trained(tmp_path, shards=8)
    for path in tmp_path.glob("blobs_validation_*.pickle"):
        restored = restore(path, trusted=["tests"])
        restored.workflow.initialize()
        errors = restored.workflow.evaluate()
        assert errors == {key: restored.header.metrics[key] for key in errors}


class Doubled(Unit):
    """Doubles what goes into a layer, once an iteration."""

    def run(self) -> None:
        self.output_ = 2 * self.input_  # type: ignore[attr-defined]


def test_a_unit_between_the_layers_is_refused() -> None:
    workflow = network(layers=PLAIN, shards=2)
    doubled, first = Doubled(workflow, "doubled"), workflow.forwards[0]
    doubled.link_attrs(workflow.loader, ("input_", "minibatch_data_"))
    first.link_attrs(doubled, ("input_", "output_"))
    first.unlink_before()
    first.link_from(doubled.link_from(workflow.shards))
    with pytest.raises(ConfigError, match=r"parallel\.shards: doubled"):
        workflow.initialize()


@pytest.mark.parametrize("count", [0, -2, 3, 2**62, 2**100])
def test_a_number_that_a_snapshot_should_not_have_is_refused(count: int) -> None:
    workflow = network(shards=4)
    workflow.shards.count = count
    with pytest.raises(ConfigError, match="shards"):
        workflow.initialize()
