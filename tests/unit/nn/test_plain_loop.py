"""A model, a loss and an optimizer in a conf give the weights of a plain loop of PyTorch, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from runner.nn import StandardWorkflow
from runner.nn.loading.samples import TRAIN
from runner.snapshots.restoring.restore import restore
from tests.networks import extended, network, stopped, trained
from tests.states import differences, workflow_state

BATCHES = 100
SCHEDULERS = "torch.optim.lr_scheduler"


class Net(nn.Module):
    """A network with what makes training hard to repeat: normalization by minibatch, dropout, a residual connection."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh())
        self.block = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16))
        self.head = nn.Linear(16, outputs)

    def forward(self, samples: Tensor) -> Tensor:
        values = self.stem(samples)
        return self.head(values + self.block(values))


class Attention(nn.Module):
    """A transformer over the rows of a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, samples: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(samples)).mean(1))


NET = {"_target_": f"{__name__}.Net"}
CROSS_ENTROPY = {"_target_": "torch.nn.CrossEntropyLoss"}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.01}
MOMENTUM = {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}

Optimizer = torch.optim.Optimizer


@dataclass
class Loop:
    """A plain loop of PyTorch over minibatches, five in an epoch."""

    optimizer: Callable[[nn.Module], Optimizer]
    loss: nn.Module = field(default_factory=nn.CrossEntropyLoss)
    scheduler: Callable[[Optimizer], Any] | None = None
    by_minibatch: bool = False
    clip: Callable[[Iterator[nn.Parameter]], Any] | None = None
    accumulate: int = 1

    def run(self, model: nn.Module, served: Callable[[], tuple[Tensor, Tensor]]) -> None:
        optimizer = self.optimizer(model)
        scheduler = self.scheduler and self.scheduler(optimizer)
        model.train()
        for number in range(1, BATCHES + 1):
            samples, labels = served()
            self.loss(model(samples), labels).backward()
            within = (number - 1) % 5 + 1
            if within % self.accumulate and within < 5:
                continue
            for parameter in model.parameters() if self.accumulate > 1 else ():
                parameter.grad /= within % self.accumulate or self.accumulate
            if self.clip:
                self.clip(model.parameters())
            optimizer.step()
            optimizer.zero_grad()
            if scheduler and (self.by_minibatch or within == 5):
                scheduler.step()


def biases_apart(model: nn.Module) -> list[dict[str, Any]]:
    named = list(model.named_parameters())
    biases = [value for name, value in named if name.endswith("bias")]
    head = [value for name, value in named if name == "head.weight"]
    others = [value for name, value in named if not name.endswith("bias") and name != "head.weight"]
    return [{"params": others}, {"params": biases, "weight_decay": 0}, {"params": head, "lr": 0.1}]


def rising(step: int, steps: int) -> float:
    """Returns the factor of a learning rate that rises for so many steps."""
    return min(1.0, (step + 1) / steps)


class Falling:
    """A factor that falls with each step."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, step: int) -> float:
        return self.factor**step


RISING = {"_target_": f"{__name__}.rising", "_partial_": True, "steps": 20}
FALLING = {"_target_": f"{__name__}.Falling", "factor": 0.98}
TRUSTED = ["tests", RISING["_target_"], FALLING["_target_"]]

WARM_UP = {
    "_target_": f"{SCHEDULERS}.SequentialLR",
    "schedulers": [
        {"_target_": f"{SCHEDULERS}.LinearLR", "start_factor": 0.1, "total_iters": 5},
        {"_target_": f"{SCHEDULERS}.CosineAnnealingLR", "T_max": 95},
    ],
    "milestones": [5],
    "by_minibatch": True,
}


def warm_up(optimizer: Optimizer) -> Any:
    linear = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    return lr_scheduler.SequentialLR(optimizer, [linear, lr_scheduler.CosineAnnealingLR(optimizer, 95)], [5])


COMBINATIONS: dict[str, tuple[dict[str, Any], Loop]] = {
    "adamw": (
        {"loss_config": CROSS_ENTROPY, "optimizer_config": ADAMW},
        Loop(lambda model: torch.optim.AdamW(model.parameters(), lr=0.01)),
    ),
    "momentum, smoothing": (
        {"loss_config": CROSS_ENTROPY | {"label_smoothing": 0.1}, "optimizer_config": MOMENTUM},
        Loop(
            lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
            nn.CrossEntropyLoss(label_smoothing=0.1),
        ),
    ),
    "rmsprop, margin": (
        {"loss_config": {"_target_": "torch.nn.MultiMarginLoss"}, "optimizer_config": {"_target_": "torch.optim.RMSprop"}},
        Loop(lambda model: torch.optim.RMSprop(model.parameters()), nn.MultiMarginLoss()),
    ),
    "attention, weights": (
        {
            "layers": {"model": {"_target_": f"{__name__}.Attention"}},
            "loss_config": CROSS_ENTROPY | {"weight": [1, 2, 3]},
            "optimizer_config": ADAMW,
        },
        Loop(
            lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        ),
    ),
    "groups": (
        {
            "optimizer_config": ADAMW
            | {"groups": [{"pattern": "*.bias", "weight_decay": 0}, {"pattern": "model.head.*", "lr": 0.1}]}
        },
        Loop(lambda model: torch.optim.AdamW(biases_apart(model), lr=0.01)),
    ),
    "scheduler by epoch": (
        {
            "optimizer_config": MOMENTUM,
            "scheduler_config": {"_target_": f"{SCHEDULERS}.MultiStepLR", "milestones": [3, 7], "gamma": 0.3},
        },
        Loop(
            lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
            scheduler=lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [3, 7], 0.3),
        ),
    ),
    "warm-up, then a cosine": (
        {"optimizer_config": ADAMW, "scheduler_config": WARM_UP},
        Loop(lambda model: torch.optim.AdamW(model.parameters(), lr=0.01), scheduler=warm_up, by_minibatch=True),
    ),
    "one cycle, which changes momentum, too": (
        {
            "optimizer_config": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "scheduler_config": {
                "_target_": f"{SCHEDULERS}.OneCycleLR",
                "max_lr": 0.1,
                "total_steps": 100,
                "by_minibatch": True,
            },
        },
        Loop(
            lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
            scheduler=lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100),
            by_minibatch=True,
        ),
    ),
    "clipped by norm": (
        {"optimizer_config": ADAMW | {"clip_norm": 0.1}},
        Loop(
            lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
            clip=lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1),
        ),
    ),
    "clipped by value": (
        {"optimizer_config": {"_target_": "torch.optim.Adagrad", "clip_value": 0.01}},
        Loop(
            lambda model: torch.optim.Adagrad(model.parameters()),
            clip=lambda parameters: nn.utils.clip_grad_value_(parameters, 0.01),
        ),
    ),
    "accumulated": (
        {"optimizer_config": ADAMW | {"accumulate": 3}},
        Loop(lambda model: torch.optim.AdamW(model.parameters(), lr=0.01), accumulate=3),
    ),
    "a function of the epoch": (
        {"optimizer_config": ADAMW, "scheduler_config": {"_target_": f"{SCHEDULERS}.LambdaLR", "lr_lambda": RISING}},
        Loop(
            lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
            scheduler=lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: rising(step, 20)),
        ),
    ),
    "functions of groups, one after the other": (
        {
            "optimizer_config": ADAMW | {"groups": [{"pattern": "model.head.*", "lr": 0.1}]},
            "scheduler_config": {
                "_target_": f"{SCHEDULERS}.SequentialLR",
                "schedulers": [
                    {"_target_": f"{SCHEDULERS}.LambdaLR", "lr_lambda": [RISING, FALLING]},
                    {"_target_": f"{SCHEDULERS}.MultiplicativeLR", "lr_lambda": FALLING},
                ],
                "milestones": [10],
                "by_minibatch": True,
            },
        },
        Loop(
            lambda model: torch.optim.AdamW(
                [
                    {"params": [value for name, value in model.named_parameters() if not name.startswith("head")]},
                    {"params": model.head.parameters(), "lr": 0.1},
                ],
                lr=0.01,
            ),
            scheduler=lambda optimizer: lr_scheduler.SequentialLR(
                optimizer,
                [
                    lr_scheduler.LambdaLR(optimizer, [lambda step: rising(step, 20), Falling(0.98)]),
                    lr_scheduler.MultiplicativeLR(optimizer, Falling(0.98)),
                ],
                [10],
            ),
            by_minibatch=True,
        ),
    ),
    "all at once": (
        {
            "loss_config": CROSS_ENTROPY | {"label_smoothing": 0.1},
            "optimizer_config": ADAMW
            | {
                "groups": [{"pattern": "*.bias", "weight_decay": 0}, {"pattern": "model.head.*", "lr": 0.1}],
                "clip_norm": 0.5,
                "accumulate": 2,
            },
            "scheduler_config": WARM_UP,
        },
        Loop(
            lambda model: torch.optim.AdamW(biases_apart(model), lr=0.01),
            nn.CrossEntropyLoss(label_smoothing=0.1),
            warm_up,
            True,
            lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5),
            2,
        ),
    ),
}


def workflow_of(settings: dict[str, Any]) -> StandardWorkflow:
    """Returns a workflow that trains for so many minibatches, without a validation set, whose minibatches would be between."""
    loading = {"minibatch_size": 10, "validation_size": 0, "train_size": 50}
    decision = {"max_epochs": BATCHES // 5, "fail_iterations": None}
    return network(
        **(
            {"layers": {"model": NET}, "loss_config": CROSS_ENTROPY, "loader_config": loading, "decision_config": decision}
            | settings
        )
    )


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_weights_are_those_of_a_plain_loop(name: str) -> None:
    settings, loop = COMBINATIONS[name]
    ours, theirs = workflow_of(settings), workflow_of(settings)
    theirs.initialize()
    model, loader = theirs.forwards[0].module, theirs.loader
    ours.initialize()
    state = ours.random_states_["torch"]
    ours.run()

    def served() -> tuple[Tensor, Tensor]:
        loader.run()
        assert loader.minibatch.split == TRAIN
        return loader.minibatch_data_, loader.minibatch_labels_

    torch.set_rng_state(state)
    loop.run(model, served)
    expected = model.state_dict()
    found = ours.forwards[0].module.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert ours.decision.minibatches == BATCHES


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_run_stopped_at_any_minibatch_ends_like_one_that_is_not(name: str, tmp_path: Path, rng) -> None:
    settings = {"layers": {"model": NET}, "loss_config": CROSS_ENTROPY, "decision_config": {"max_epochs": 4}} | COMBINATIONS[
        name
    ][0]
    whole = trained(tmp_path / "whole", **settings)
    location = stopped(tmp_path / "half", rng.randrange(1, 4 * whole.loader.steps), **settings)
    again = extended(restore(location, trusted=TRUSTED).workflow, epochs=4)
    assert differences(workflow_state(whole), workflow_state(again)) == []
