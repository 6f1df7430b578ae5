"""A model, a loss and an optimizer in a conf give the weights of a plain loop of PyTorch, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner.nn import StandardWorkflow
from runner.nn.loading.samples import TRAIN
from tests.networks import network

BATCHES = 100


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

Loop = Callable[[nn.Module, nn.Module, Callable[[], tuple[Tensor, Tensor]]], None]


def plain(optimizer: Callable[..., torch.optim.Optimizer]) -> Loop:
    def loop(model: nn.Module, loss: nn.Module, served: Callable[[], tuple[Tensor, Tensor]]) -> None:
        made = optimizer(model.parameters())
        for _ in range(BATCHES):
            samples, labels = served()
            made.zero_grad()
            loss(model(samples), labels).backward()
            made.step()

    return loop


COMBINATIONS: dict[str, tuple[dict[str, Any], nn.Module, Loop]] = {
    "adamw": (
        {"loss_config": CROSS_ENTROPY, "optimizer_config": ADAMW},
        nn.CrossEntropyLoss(),
        plain(lambda parameters: torch.optim.AdamW(parameters, lr=0.01)),
    ),
    "momentum, smoothing": (
        {"loss_config": CROSS_ENTROPY | {"label_smoothing": 0.1}, "optimizer_config": MOMENTUM},
        nn.CrossEntropyLoss(label_smoothing=0.1),
        plain(lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)),
    ),
    "rmsprop, margin": (
        {"loss_config": {"_target_": "torch.nn.MultiMarginLoss"}, "optimizer_config": {"_target_": "torch.optim.RMSprop"}},
        nn.MultiMarginLoss(),
        plain(torch.optim.RMSprop),
    ),
    "attention": (
        {
            "layers": {"model": {"_target_": f"{__name__}.Attention"}},
            "loss_config": CROSS_ENTROPY | {"weight": [1, 2, 3]},
            "optimizer_config": ADAMW,
        },
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        plain(lambda parameters: torch.optim.AdamW(parameters, lr=0.01)),
    ),
}


def workflow_of(settings: dict[str, Any]) -> StandardWorkflow:
    """Returns a workflow that trains for so many minibatches, without a validation set, whose minibatches would be between."""
    torch.manual_seed(4)
    loading = {"minibatch_size": 10, "validation_size": 0, "train_size": 50}
    decision = {"max_epochs": BATCHES // 5, "fail_iterations": None}
    return network(**({"layers": {"model": NET}, "loader_config": loading, "decision_config": decision} | settings))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_weights_are_those_of_a_plain_loop(name: str) -> None:
    settings, loss, loop = COMBINATIONS[name]
    ours, theirs = workflow_of(settings), workflow_of(settings)
    theirs.initialize()
    model, loader = theirs.forwards[0].module, theirs.loader
    state = torch.get_rng_state()
    ours.initialize()
    torch.set_rng_state(state)
    ours.run()

    def served() -> tuple[Tensor, Tensor]:
        loader.run()
        assert loader.minibatch.split == TRAIN
        return loader.minibatch_data_, loader.minibatch_labels_

    torch.set_rng_state(state)
    model.train()
    loop(model, loss, served)
    expected = model.state_dict()
    found = ours.forwards[0].module.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert ours.decision.minibatches == BATCHES
