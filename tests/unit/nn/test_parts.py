"""Modules whose samples, and whose outputs, are tuples or dicts of tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.snapshots.restoring.restore import restore
from runner.use.exports import export
from runner.use.predicting import Tally, predictions
from runner.use.sources import opened
from tests.networks import extended, network, stopped, trained
from tests.states import differences, workflow_state

SIZE = 30


class Posts(Dataset):
    """A picture of bytes, words by number, which of them there are, and an age; the class is told by the words."""

    def __init__(self, form: str = "dict", size: int = SIZE, **changes: Any) -> None:
        drawn = torch.Generator().manual_seed(size)
        self.image = torch.randint(0, 256, (size, 4, 5), generator=drawn, dtype=torch.uint8)
        self.words = torch.randint(0, 9, (size, 3), generator=drawn)
        self.there = torch.rand((size, 3), generator=drawn) > 0.3
        self.age = torch.rand(size, generator=drawn, dtype=torch.float64) * 80
        self.form, self.changes = form, changes

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Any:
        names = ("image", "words", "there", "age")
        sample = {name: getattr(self, name)[index] for name in names} | self.changes
        given = tuple(sample.values()) if self.form == "tuple" else sample
        return given if self.form == "alone" else (given, int(self.words[index].sum()) % 2)


class Uneven(Posts):
    def __getitem__(self, index: int) -> Any:
        sample, label = super().__getitem__(index)
        return (sample if index < 5 else {"image": sample["image"]}), label


class Net(nn.Module):
    """Takes samples apart, and tells of each what it was given."""

    def __init__(self, returns: str = "tensor", width: int = 8) -> None:
        super().__init__()
        self.words = nn.Embedding(9, width)
        self.image = nn.Linear(20, width)
        self.trunk = nn.Sequential(nn.BatchNorm1d(2 * width + 1), nn.Dropout(0.1), nn.Linear(2 * width + 1, width), nn.Tanh())
        self.head, self.auxiliary, self.third = nn.Linear(width, 2), nn.Linear(width, 2), nn.Linear(width, 2)
        self.returns = returns

    def forward(self, samples: Any) -> Any:
        image, words, there, age = samples if isinstance(samples, tuple) else samples.values()
        assert (words.dtype, there.dtype, image.dtype) == (torch.int64, torch.bool, age.dtype)
        assert (image.shape[1:], age.shape) == ((4, 5), image.shape[:1])
        sentence = (self.words(words) * there.unsqueeze(2)).sum(1)
        values = self.trunk(torch.cat([sentence, self.image(image.flatten(1)), age.unsqueeze(1)], 1))
        logits, auxiliary, third = self.head(values), self.auxiliary(values.square()), self.third(values.exp())
        match self.returns:
            case "dict":
                return {"auxiliary": auxiliary, "logits": logits, "third": third, "words": words}
            case "tuple":
                return logits, (auxiliary, third)
            case "doubles":
                return {"logits": logits.double()}
        return logits


class Three(nn.Module):
    """A loss of three outputs."""

    def forward(self, first: Tensor, second: Tensor, third: Tensor, labels: Tensor) -> Tensor:
        losses = [nn.functional.cross_entropy(outputs, labels) for outputs in (first, second, third)]
        return losses[0] + 0.3 * losses[1] + 0.1 * losses[2]


class Weighed(nn.Module):
    """A loss of two outputs, which learns what each weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithms = nn.Parameter(torch.zeros(2))

    def forward(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        losses = torch.stack([nn.functional.cross_entropy(outputs, labels) for outputs in (first, second)])
        return (losses * torch.exp(-self.logarithms) + self.logarithms).sum()


class Twins(nn.Module):
    """Trains itself, with pairs that have no labels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(20, 3)
        self.optimizer = torch.optim.SGD(self.parameters(), 0.01)

    def forward(self, samples: Any) -> Tensor:
        return self.net(samples["image"].flatten(1))

    def training_step(self, samples: Any, wanted: Any) -> Tensor:
        assert wanted is samples
        loss = self.forward(samples).square().mean()
        if self.training:
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss


NET = {"_target_": f"{__name__}.Net"}
CROSS_ENTROPY = {"_target_": "torch.nn.CrossEntropyLoss"}
THREE = {"_target_": f"{__name__}.Three", "output": ["logits", "auxiliary", "third"]}
WEIGHED = {"_target_": f"{__name__}.Weighed", "output": ["logits", "third"]}


def settings(form: str = "dict", returns: str = "tensor", **more: Any) -> dict[str, Any]:
    train = {"_target_": f"{__name__}.Posts", "form": form}
    return {
        "loader_name": "dataset",
        "loader_config": {"train": train, "validation": train | {"size": 11}, "minibatch_size": 8},
        "layers": {"model": {"_target_": f"{__name__}.Net", "returns": returns}},
        "loss_config": CROSS_ENTROPY,
        "optimizer_config": {"_target_": "torch.optim.AdamW", "lr": 0.01},
    } | more


EVERY = {
    "dict": settings(),
    "tuple": settings("tuple"),
    "one of a dict": settings(returns="dict", loss_config=CROSS_ENTROPY | {"output": "logits"}),
    "one of a tuple": settings(returns="tuple", loss_config=CROSS_ENTROPY | {"output": 0}),
    "three of a dict": settings(returns="dict", loss_config=THREE, ema=0.9),
    "a loss that learns": settings(returns="dict", loss_config=WEIGHED),
    "in shards": settings(layers={"model": NET, "out": {"type": "softmax"}}, loss_config=None, shards=2),
    "gradient descent by the layers": settings(optimizer_config=None, returns="dict", loss_config=THREE),
    "a layer follows": settings(
        layers={
            "model": {"_target_": f"{__name__}.Net"},
            "out": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2},
        }
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_run_stopped_at_any_minibatch_ends_like_one_that_is_not(name: str, tmp_path: Path, rng) -> None:
    whole = trained(tmp_path / "whole", **EVERY[name])
    location = stopped(tmp_path / "half", rng.randrange(1, 3 * whole.loader.steps), **EVERY[name])
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert differences(workflow_state(whole), workflow_state(again)) == []


def between(values: Tensor) -> Tensor:
    """Returns values with their range mapped to [-1, 1]."""
    low, high = values.min(), values.max()
    return ((values - (low + (high - low) / 2)) * (2 / (high - low))).float()


@pytest.mark.parametrize("name", ["dict", "tuple", "three of a dict"])
def test_the_weights_are_those_of_a_plain_loop(name: str) -> None:
    run = EVERY[name] | {"ema": None}
    ours, theirs = network(**run), network(**run)
    theirs.initialize()
    model, loader = theirs.forwards[0].module.train(), theirs.loader
    ours.initialize()
    state = ours.random_states_["torch"]
    ours.run()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.set_rng_state(state)
    posts = Posts()
    image, age = (between(value.double()) for value in (posts.image, posts.age))
    labels = posts.words.sum(1) % 2
    for _ in range(12):
        loader.run()
        while loader.evaluating:
            loader.run()
        which = loader.permutation[loader.minibatch.begin : loader.minibatch.end]
        values = {"image": image, "words": posts.words, "there": posts.there, "age": age}
        samples = {key: value[which] for key, value in values.items()}
        outputs = model(tuple(samples.values()) if name == "tuple" else samples)
        if name == "three of a dict":
            loss = Three()(outputs["logits"], outputs["auxiliary"], outputs["third"], labels[which])
        else:
            loss = nn.functional.cross_entropy(outputs, labels[which])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for key, value in ours.forwards[0].module.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


@pytest.mark.parametrize("name", ["dict", "tuple", "three of a dict", "a layer follows"])
def test_a_restored_network_predicts(name: str, tmp_path: Path) -> None:
    workflow = trained(tmp_path, **EVERY[name])
    restored = restore(workflow.snapshotter.last_location, trusted=["tests"])
    model, posts = restored.model(), Posts(size=11)
    parts = {"image": posts.image, "words": posts.words, "there": posts.there, "age": posts.age}
    is_dict = name != "tuple"
    with torch.inference_mode():
        given = model(parts if is_dict else tuple(parts.values()))
    wrong = 100 * float((given.argmax(1) != posts.words.sum(1) % 2).double().mean())
    if name != "three of a dict":  # whose last validation was with the averages of an earlier update
        assert wrong == pytest.approx(workflow.decision.history[-1]["validation"])
    arrays = {key if is_dict else f"arr_{number}": value.numpy() for number, (key, value) in enumerate(parts.items())}
    np.savez(tmp_path / "new.npz", **arrays)
    with opened(str(tmp_path / "new.npz"), restored.workflow.loader) as source:
        found = [outputs for _, outputs in predictions(model, source, 11, Tally())]
    assert np.array_equal(np.concatenate(found), given.numpy())


@pytest.mark.parametrize(("name", "endings"), [("three of a dict", (".safetensors", ".onnx")), ("tuple", (".pt2",))])
def test_a_network_is_exported_with_an_input_for_each_part(name: str, endings: tuple[str, ...], tmp_path: Path) -> None:
    workflow = trained(**EVERY[name])
    model, posts = workflow.as_model(), Posts(size=11)
    parts = {"image": posts.image.double(), "words": posts.words, "there": posts.there, "age": posts.age}
    with torch.inference_mode():
        expected = model(parts if name != "tuple" else tuple(parts.values())).numpy()
    samples = torch.from_numpy(workflow.loader.load_data()[VALIDATION].data)
    for ending in endings:
        export(model, str(tmp_path / f"net{ending}"), samples)
    if name == "tuple":
        found = torch.export.load(tmp_path / "net.pt2").module()(tuple(parts.values()))
        assert np.array_equal(found.detach().numpy(), expected)
        return
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {key: value.numpy() for key, value in parts.items()})
    assert np.abs(found - expected).max() <= 1e-5
    told = json.loads(session.get_modelmeta().custom_metadata_map["veles"])["parts"]
    assert told[0] == ["image", [4, 5], "numbers"]


def test_other_samples_are_refused_by_a_network_and_by_predictions(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **EVERY["dict"])
    model = workflow.as_model()
    for wrong in ({"image": torch.zeros(2, 4, 5)}, (torch.zeros(2, 4, 5),)):
        with pytest.raises(ValueError, match="image 4 x 5, words 3, there 3, age 1"):
            model(wrong)
    posts = Posts(size=4)
    arrays = {"image": posts.image[:, :3], "words": posts.words, "there": posts.there, "age": posts.age}
    for changed, told in (({}, "the part image"), ({"image": posts.image, "age": posts.age[:2]}, "the part age")):
        np.savez(tmp_path / "new.npz", **arrays | changed)
        with pytest.raises(ConfigError, match=told), opened(str(tmp_path / "new.npz"), workflow.loader):
            pass
    np.savez(tmp_path / "new.npz", image=posts.image)
    with pytest.raises(ConfigError, match="'words'"), opened(str(tmp_path / "new.npz"), workflow.loader):
        pass


def test_a_step_of_its_own_gets_the_parts() -> None:
    run = settings("alone", layers={"model": {"_target_": f"{__name__}.Twins"}}, loss_config=None, optimizer_config=None)
    losses = [row["train"] for row in trained(**run).decision.history]
    assert losses[-1] < losses[0]


def loading(**train: Any) -> dict[str, Any]:
    return {"loader_config": {"train": {"_target_": f"{__name__}.Posts"} | train, "validation_size": 0}}


def outputs(names: Any) -> dict[str, Any]:
    return {"loss_config": CROSS_ENTROPY | {"output": names}}


class Returning(Twins):
    def forward(self, samples: Any) -> Any:
        return {"values": super().forward(samples)}

    def training_step(self, samples: Any, wanted: Any) -> Tensor:
        return self.forward(samples)["values"].square().mean()


ALONE = {"loss_config": None, "optimizer_config": None}
WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"returns": "dict"}, {}, r"layers.model \(Net\) returns a dict of auxiliary, logits, third, words.*loss.output=auxiliary"),
    ({"returns": "tuple"}, {}, r"returns a tuple of 2 .*loss.output=0 "),
    (
        {},
        ALONE | {"layers": {"model": {"_target_": f"{__name__}.Returning"}}},
        r"\(Returning\) returns a dict: forward\(\) is what",
    ),
    ({"returns": "dict"}, outputs("logit"), "loss.output='logit'.*auxiliary, logits"),
    ({"returns": "tuple"}, outputs(2), "loss.output=2"),
    ({"returns": "tuple"}, outputs(1), "returns a tuple as 1"),
    ({"returns": "doubles"}, outputs("logits"), "returns values of torch.float64"),
    ({}, outputs("logits"), "returns Tensor.*leave it out"),
    ({"returns": "dict"}, outputs([]), r"loss.output=\[\]"),
    ({"returns": "dict"}, outputs(True), "loss.output=True"),
    ({"returns": "dict"}, outputs("words"), "returns values of torch.int64"),
    ({"returns": "dict"}, outputs(["logits", "third"]), "loss: CrossEntropyLoss .*, 1 further ones"),
    ({}, outputs("a") | {"layers": {"fc": {"type": "all2all", "output_sample_shape": 2}}}, "loss.output='a'.*layers.fc"),
    ({}, {"layers": {"out": {"type": "all2all", "output_sample_shape": 2}}}, "loader.train has samples of several parts"),
    ({}, loading(words=torch.tensor([1 << 24, 1 << 30])), "part words has the whole number 1073741824.*precision=float64"),
    ({}, loading(age=float("nan")), "the part age of item 0 has the value nan"),
    ({}, loading(words=torch.zeros(0)), "the part words has no values"),
    ({}, loading(words={"nested": torch.zeros(1)}), "the part words of item 0 is dict"),
    ({}, loading(words="text"), "the part words of item 0 is str"),
    ({}, loading(_target_=f"{__name__}.Uneven"), "the sample of item 5 has the parts .'image'"),
]


@pytest.mark.parametrize(("own", "more", "told"), WRONG, ids=range(len(WRONG)))
def test_what_does_not_fit_is_told_before_the_first_epoch(own: dict[str, Any], more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        network(**settings(**own) | more).initialize()
    assert "\n" not in str(raised.value)


def test_other_parts_than_those_of_the_training_are_refused(tmp_path: Path) -> None:
    train = {"_target_": f"{__name__}.Posts"}
    other = train | {"age": torch.zeros(2)}
    with pytest.raises(ConfigError, match=r"loader.validation has samples of .*age 2, and the network is for .*age 1"):
        network(**settings(loader_config={"train": train, "validation": other})).initialize()
    location = stopped(tmp_path, 2, **EVERY["dict"])
    workflow = restore(location, trusted=["tests"]).workflow
    workflow.loader.arguments["train"]["form"] = "tuple"
    with pytest.raises(SnapshotMismatchError, match=r"loader.train has samples of 0 4 x 5.*for image"):
        workflow.initialize()


def test_an_output_that_is_gone_in_the_middle_of_a_run_ends_it(tmp_path: Path) -> None:
    workflow = network(tmp_path, **EVERY["three of a dict"])
    workflow.initialize()
    workflow.forwards[0].module.returns = "tensor"
    with pytest.raises(RunError, match="returns Tensor"):
        workflow.run()


@pytest.mark.parametrize(
    "parts",
    [
        [("image", (4, 5), "numbers")],
        [("image", (-4, -5), "numbers"), ("words", (7,), "numbers")],
        [("image", (4, 5), "none"), ("words", (7,), "numbers")],
        [("image", (4, 5), "numbers"), ("image", (7,), "numbers")],
        [(1, (4, 5), "numbers"), (0, (7,), "numbers")],
        [(0, (4, 5), "numbers"), ("words", (7,), "numbers")],
    ],
)
def test_parts_of_a_snapshot_are_those_of_its_samples(parts: Any, tmp_path: Path) -> None:
    workflow = restore(stopped(tmp_path, 2, **EVERY["dict"]), trusted=["tests"]).workflow
    workflow.loader.parts = parts
    with pytest.raises(SnapshotMismatchError, match="parts of a sample"):
        workflow.as_model()


def test_samples_are_the_same_in_every_split() -> None:
    workflow = network(**EVERY["dict"])
    workflow.initialize()
    assert workflow.loader.data_[TRAIN].shape == (SIZE, 27)
    assert workflow.loader.parts[3] == ("age", (), "numbers")
