"""Losses of torch, and of one's own, by autograd: the same numbers as a plain loop has, and what is wrong in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from runner.snapshots.restoring.restore import restore
from tests.networks import LAYERS, BlobsLoader, extended, network, stopped, trained
from tests.states import differences, workflow_state

HEAD = {"_target_": "torch.nn.Linear", "in_features": 8, "learning_rate": 0.1}
BODY = {name: LAYERS[name] for name in ("fc1", "drop")}


class TwoLoader(BlobsLoader):
    """Two clouds, of which one has twice the points of the other."""

    def load_data(self) -> dict[int, Samples]:
        found = super().load_data()
        return {key: Samples(value.data, (value.labels == 0).astype(int)) for key, value in found.items()}


class TaggedLoader(BlobsLoader):
    """Each sample has several labels at once, as targets."""

    def load_data(self) -> dict[int, Samples]:
        found = super().load_data()
        return {key: Samples(value.data, None, np.eye(3)[value.labels]) for key, value in found.items()}


class SequenceLoader(BlobsLoader):
    """A class for each of two places of a sample."""

    def load_data(self) -> dict[int, Samples]:
        found = super().load_data()
        return {key: Samples(value.data, None, np.stack([value.labels] * 2, 1)) for key, value in found.items()}


class Drawn(torch.nn.Module):
    """A loss that draws random numbers, and counts in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += self.training
        noise = torch.rand(len(outputs)) if self.training else torch.ones(len(outputs))
        return (torch.nn.functional.cross_entropy(outputs, labels, reduction="none") * noise).mean()


class Proxies(torch.nn.Module):
    """A loss that learns a point for each class, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.points = torch.nn.Parameter(torch.randn(3, 3))
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += self.training
        return torch.nn.functional.cross_entropy(-torch.cdist(outputs, self.points) * self.scale, labels)


class Judged(Proxies):
    """The same with points that stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Alone(Proxies):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.scale.square() + len(outputs) * 0


class Broken(torch.nn.Module):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.undefined


class Detached(torch.nn.Module):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(1) != labels).float().mean()


class ValueLoader(BlobsLoader):
    """A number for each sample."""

    def load_data(self) -> dict[int, Samples]:
        found = super().load_data()
        return {key: Samples(value.data, None, (value.labels == 0).astype(float)) for key, value in found.items()}


class OneNumber(torch.nn.Module):
    """Gives one number for a sample, without a dimension of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 1)

    def forward(self, samples: Tensor) -> Tensor:
        return self.linear(samples.flatten(1)).squeeze(1)


class Own(torch.nn.CrossEntropyLoss):
    """Cross-entropy by another name."""


class OfTwo(Own):
    """Cross-entropy of one number for a sample."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(torch.stack([torch.zeros_like(outputs), outputs], 1), labels.long())


LOADERS |= {"values": ValueLoader, "two": TwoLoader, "tagged": TaggedLoader, "sequence": SequenceLoader}


def settings(loss: dict[str, Any], outputs: int = 3, loader: str = "blobs", **more: Any) -> dict[str, Any]:
    layers = {**BODY, "out": HEAD | {"out_features": outputs}}
    return {"loss_config": loss, "layers": layers, "loader_name": loader} | more


ONE_NUMBER = {"out": {"_target_": f"{__name__}.OneNumber", "learning_rate": 0.1}}
LEARNING = {"_target_": f"{__name__}.Proxies"}
LEARNED = {
    "flat": {"_target_": "torch.nn.Flatten"},
    "out": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 3},
}
SGD = {
    "_target_": "torch.optim.SGD",
    "lr": 0.05,
    "momentum": 0.9,
    "clip_norm": 0.5,
    "groups": [{"pattern": "loss.*", "lr": 0.1}],
}
EVERY = {
    "cross-entropy": settings({"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1}),
    "weights": settings({"_target_": "torch.nn.CrossEntropyLoss", "weight": [1, 2, 3]}),
    "balanced": settings({"_target_": "torch.nn.CrossEntropyLoss", "weight": "balanced"}, 2, "two"),
    "margin": settings({"_target_": "torch.nn.MultiMarginLoss"}),
    "binary": settings({"_target_": "torch.nn.BCEWithLogitsLoss", "pos_weight": [3.0]}, 1, "two"),
    "binary, one number": settings(
        {"_target_": "torch.nn.BCEWithLogitsLoss", "pos_weight": 3}, loader="two", layers=ONE_NUMBER
    ),
    "own, one number": settings({"_target_": f"{__name__}.OfTwo"}, loader="two", layers=ONE_NUMBER),
    "several labels": settings({"_target_": "torch.nn.BCEWithLogitsLoss"}, 3, "tagged"),
    "autoencoder": settings({"_target_": "torch.nn.L1Loss"}, 6, loss_function="mse"),
    "learning": settings(LEARNING, layers=LEARNED, optimizer_config=SGD),
    "learning, averaged": settings(LEARNING, layers=LEARNED, optimizer_config=SGD, ema=0.9, freeze=["loss.scale"]),
    "learning, rolled back": settings(
        LEARNING, layers=LEARNED, optimizer_config=SGD | {"lr": 3.0}, rollback_config={"fail_iterations": 1}
    ),
    "judged by what stays as it is": settings({"_target_": f"{__name__}.Judged"}),
    "own": settings({"_target_": f"{__name__}.Drawn"}, seed=5),
    "explicit last layer": {
        "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"},
        "layers": {**BODY, "out": {"type": "all2all", "output_sample_shape": 3, "learning_rate": 0.1}},
    },
}


@pytest.mark.parametrize("name", EVERY)
def test_a_run_stopped_at_any_minibatch_ends_like_one_that_is_not(name: str, tmp_path: Path, rng) -> None:
    run = EVERY[name]
    whole = trained(tmp_path / "whole", **run)
    assert whole.decision.records.epochs[-2]["loss"] < whole.decision.records.epochs[0]["loss"]
    location = stopped(tmp_path / "half", rng.randrange(1, 3 * whole.loader.steps), **run)
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert differences(workflow_state(whole), workflow_state(again)) == []


def test_gradient_and_loss_are_those_of_a_plain_loop() -> None:
    workflow = network(**EVERY["cross-entropy"])
    workflow.initialize()
    workflow.loader.run()
    for unit in workflow.forwards:
        unit.run()
    workflow.evaluator.run()
    outputs = workflow.forwards[-1].output_.clone().requires_grad_()
    value = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(outputs, workflow.loader.minibatch_labels_)
    value.backward()
    assert torch.equal(workflow.evaluator.err_output_, outputs.grad)
    assert workflow.evaluator.sums(TRAIN)[2] == value.double().item() * 8


def test_a_loss_that_learns_does_so_as_in_a_plain_loop() -> None:
    ours, theirs = network(**EVERY["learning"]), network(**EVERY["learning"])
    theirs.initialize()
    model, loss, loader = theirs.forwards[1].module, theirs.evaluator.loss_module, theirs.loader
    ours.initialize()
    ours.run()
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": loss.parameters(), "lr": 0.1}], 0.05, momentum=0.9)
    for _ in range(ours.decision.minibatches):
        loader.run()
        while loader.evaluating:
            loader.run()
        loss(model(loader.minibatch_data_.flatten(1)), loader.minibatch_labels_).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *loss.parameters()], 0.5)
        optimizer.step()
        optimizer.zero_grad()
    for mine, other in ((ours.forwards[1].module, model), (ours.evaluator.loss_module, loss)):
        for key, value in mine.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    assert loss.calls == ours.decision.minibatches


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    workflow = network(**EVERY["balanced"])
    workflow.initialize()
    labels = workflow.loader.labels_[TRAIN].numpy()
    expected = compute_class_weight("balanced", classes=np.arange(2), y=labels)
    np.testing.assert_allclose(workflow.evaluator.loss_module.weight.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["cross-entropy", "binary", "weights", "explicit last layer"])
def test_a_restored_network_gives_probabilities_that_score_what_the_run_has_scored(name: str, tmp_path: Path) -> None:
    workflow = trained(tmp_path, **EVERY[name])
    model = restore(workflow.snapshotter.last_location, trusted=["tests"]).model()
    loader, split = workflow.loader, VALIDATION
    given = model(torch.from_numpy(loader.load_data()[split].data))
    labels = loader.labels_[split]
    torch.testing.assert_close(given.sum(1), torch.ones(len(labels)))
    wrong = 100 * float((given.argmax(1) != labels).double().mean())
    assert wrong == pytest.approx(workflow.decision.history[-1]["validation"])
    assert model.signature.class_names == tuple(map(str, range(given.shape[1])))


def test_values_have_the_loss_as_their_metric(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **EVERY["several labels"])
    assert workflow.decision.metric.name == "loss"
    assert workflow.decision.history[-1]["train"] == workflow.decision.records.epochs[-2]["loss"]
    assert workflow.evaluate().keys() == {"validation"}
    model = restore(workflow.snapshotter.last_location, trusted=["tests"]).model()
    assert model.signature.class_names == ()


def test_an_output_of_classes_for_each_place_of_a_sample() -> None:
    layers = {"out": {"type": "all2all", "output_sample_shape": [3, 2], "learning_rate": 0.1}}
    workflow = trained(loss_config={"_target_": "torch.nn.CrossEntropyLoss"}, layers=layers, loader_name="sequence")
    assert workflow.decision.history[-1]["train"] < workflow.decision.history[0]["train"] < 2


WRONG = [
    ({"_target_": "torch.nn.CrossEntropyLoss", "reduction": "none"}, {}, r"loss: CrossEntropyLoss .*\(3,\).*reduction=mean"),
    ({"_target_": "torch.nn.CrossEntropyLoss", "weight": [1, 2]}, {}, "loss: CrossEntropyLoss does not take outputs of shape"),
    ({"_target_": "torch.nn.CrossEntropyLoss", "weight": "balance"}, {}, "loss.weight='balance'.*balanced"),
    ({"_target_": "torch.nn.CrossEntropyLoss", "weight": ["a"]}, {}, r"loss.weight=\['a'\]"),
    (
        {"_target_": "torch.nn.CrossEntropyLoss", "smoothing": 0.1},
        {},
        "loss: torch.nn.CrossEntropyLoss cannot be made.*smoothing",
    ),
    (
        {"_target_": "torch.nn.CrossEntropyLoss"},
        {"outputs": 1, "loader": "two"},
        r"the same whatever .*BCEWithLogitsLoss is not",
    ),
    *(
        ({"_target_": f"torch.nn.{name}"}, {"layers": ONE_NUMBER} | more, rf"{name} .*shape \(\) .*BCEWithLogitsLoss")
        for name in ("CrossEntropyLoss", "NLLLoss")
        for more in ({"loader": "two"}, {"loader": "values", "loss_function": "mse"})
    ),
    ({"_target_": f"{__name__}.Own"}, {"layers": ONE_NUMBER, "loader": "two"}, r"Own .*shape \(\) .*BCEWithLogitsLoss"),
    ({"_target_": "torch.nn.BCEWithLogitsLoss", "pos_weight": "balanced"}, {}, r"such as loss.pos_weight=\[3\]"),
    ({"_target_": "torch.nn.CrossEntropyLos"}, {}, "loss._target_='torch.nn.CrossEntropyLos'.*CrossEntropyLoss"),
    ({"_target_": "torch.nn.functional.cross_entropy"}, {}, "loss: torch.nn.functional.cross_entropy"),
    ({"_target_": "torch.nn.MSELoss"}, {}, "loss: MSELoss does not take outputs of shape"),
    ({"_target_": "torch.nn.BCEWithLogitsLoss"}, {}, "loss: BCEWithLogitsLoss does not take outputs of shape"),
    ({"_target_": "torch.nn.CosineEmbeddingLoss"}, {}, "loss: CosineEmbeddingLoss does not take outputs of shape"),
    ({"_target_": "torch.nn.CrossEntropyLoss"}, {"outputs": 2}, "the last layer has 2 outputs, but the labels go up to 2"),
    ({"_target_": "torch.nn.BCEWithLogitsLoss"}, {"outputs": 1}, "the last layer has 1 outputs, but the labels go up to 2"),
    (
        {"_target_": "torch.nn.CrossEntropyLoss", "weight": "balanced"},
        {"loader": "tagged"},
        "loss.weight=balanced needs labels",
    ),
    (LEARNING, {}, "loss: Proxies has parameters.*optimizer._target_"),
    (LEARNING, {"layers": {"loss": LEARNED["out"]}, "optimizer_config": SGD}, "layers.loss has a name that another unit needs"),
    (
        {"_target_": f"{__name__}.Alone"},
        {"layers": LEARNED, "optimizer_config": SGD},
        "loss: Alone .*does not depend on the outputs",
    ),
    ({"_target_": f"{__name__}.Broken"}, {}, r"loss: Broken .*undefined.*\(tests/unit/nn/evaluators/test_loss.py:\d+\)"),
    ({"_target_": f"{__name__}.Detached"}, {}, "loss: Detached .*does not depend on the outputs"),
    ({"_target_": "torch.optim.SGD"}, {}, "loss"),
]


@pytest.mark.parametrize(("loss", "more", "told"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_before_the_first_epoch(loss: dict[str, Any], more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        network(**settings(loss, **more)).initialize()
    assert "\n" not in str(raised.value)


def test_a_loss_of_log_probabilities_that_gets_other_numbers_is_told(caplog: pytest.LogCaptureFixture) -> None:
    trained(**settings({"_target_": "torch.nn.NLLLoss"}))
    assert [record.levelname for record in caplog.records if "NLLLoss takes log-probabilities" in record.message] == ["WARNING"]


def test_a_softmax_layer_has_its_own_loss() -> None:
    with pytest.raises(ConfigError, match=r"layers\.out is of type softmax.*all2all"):
        network(loss_config={"_target_": "torch.nn.CrossEntropyLoss"})
    with pytest.raises(ConfigError, match=r"layers\.out is 'module'.*loss\._target_"):
        network(layers={**BODY, "out": HEAD | {"out_features": 3}})
