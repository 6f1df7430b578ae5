"""Modules that change in `forward()`: counters, caches and generators of their own are state, and a restore uses none of it."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner.errors import ConfigError, StateError
from runner.snapshots.restoring.restore import restore
from tests.networks import extended, network, stopped, trained
from tests.states import differences, workflow_state

TRUSTED = ["tests"]


class Counting(nn.Module):
    """Its results depend on how often it was called."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.kind = kind
        self.register_buffer("buffer", torch.zeros(()))
        self.calls: Any = 0
        self.of_shapes: dict[str, int] = {}
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, samples: Tensor) -> Tensor:
        factor: Any = 1
        if self.kind == "buffer":
            self.buffer += 1
            factor = 1 + self.buffer / 10
        elif self.kind == "attribute":
            self.calls += 1
            factor = 1 + self.calls / 10
        elif self.kind == "dict":
            self.of_shapes["all"] = self.of_shapes.get("all", 0) + 1
            factor = 1 + self.of_shapes["all"] / 10
        elif self.kind == "weights":
            self.linear.weight.data *= 0.99
        else:
            factor = torch.rand(3, generator=self.generator)
        return self.linear(samples.flatten(1)) * factor


@pytest.mark.parametrize("at", [3, 8])
@pytest.mark.parametrize("kind", ["buffer", "attribute", "dict", "weights", "generator"])
def test_a_restored_one_goes_on_bit_for_bit(kind: str, at: int, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "layers": {"net": {"type": "module", "_target_": f"{__name__}.Counting", "kind": kind, "learning_rate": 0.1}},
        "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"},
        "decision_config": {"max_epochs": 3},
    }
    whole = trained(tmp_path / "whole", **settings)
    again = extended(restore(stopped(tmp_path / "half", at, **settings), trusted=TRUSTED).workflow, epochs=3)
    assert again.decision.records.epochs == whole.decision.records.epochs
    assert differences(workflow_state(whole), workflow_state(again)) == []


class Late(nn.Module):
    """Makes a layer when it is called, which nobody would train."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        if kind == "locked":
            self.lock = threading.Lock()  # so that no copy can be made

    def forward(self, samples: Tensor) -> Tensor:
        self.new = nn.Linear(3, 3)
        return self.new(self.linear(samples.flatten(1)))


@pytest.mark.parametrize("kind", ["plain", "locked"])
def test_what_is_made_in_forward_and_would_not_learn_is_refused(kind: str) -> None:
    layers = {"net": {"type": "module", "_target_": f"{__name__}.Late", "kind": kind, "learning_rate": 0.1}}
    with pytest.raises(
        ConfigError, match=r"layers\.net \(Late\) makes new\.bias in forward\(\), so it would never learn: make it in"
    ):
        network(layers=layers, loss_config={"_target_": "torch.nn.CrossEntropyLoss"}).initialize()


class Locked(nn.Linear):
    """Has a state of its own, and something in it that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def forward(self, samples: Tensor) -> Tensor:
        return super().forward(samples.flatten(1))


def test_what_cannot_be_pickled_is_not_called_lost(tmp_path: Path) -> None:
    layers = {"net": {"type": "module", "_target_": f"{__name__}.Locked", "learning_rate": 0.1}}
    with pytest.raises(StateError, match="lock"):
        trained(tmp_path, layers=layers, loss_config={"_target_": "torch.nn.CrossEntropyLoss"})


class Normed(torch.nn.Linear):
    """Its weight is computed of others, by a class that torch makes for it and does not pickle."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        torch.nn.utils.parametrizations.weight_norm(self)


def test_what_torch_does_not_pickle_is_told_before_the_run() -> None:
    layers = {"net": {"type": "module", "_target_": f"{__name__}.Normed", "learning_rate": 0.1}}
    with pytest.raises(ConfigError, match=r"layers\.net: .*Normed cannot be kept in a snapshot: .* parametrizations"):
        network(layers=layers, loss_config={"_target_": "torch.nn.CrossEntropyLoss"})


class Changing(nn.Linear):
    """Puts another parameter in the place of one, or adds one, while it is trained; and has further state for torch."""

    def __init__(self, kind: str) -> None:
        super().__init__(6, 3)
        self.kind, self.calls = kind, 0

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]

    def forward(self, samples: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == 5 and self.kind == "replaces":
            self.weight = nn.Parameter(self.weight.detach() * 1.1)
        elif self.calls == 5 and self.kind == "adds":
            self.scale = nn.Parameter(torch.ones(1))
        elif self.calls == 5:
            self.weight.data = self.weight.data * 1.1
        return super().forward(samples.flatten(1)) * (self.scale if hasattr(self, "scale") else 1)


@pytest.mark.parametrize("optimizer", [None, {"_target_": "torch.optim.AdamW", "lr": 0.01}])
@pytest.mark.parametrize(("kind", "name"), [("replaces", "weight"), ("adds", "scale"), ("changes", None)])
def test_a_parameter_that_would_not_learn_is_told(kind: str, name: str | None, optimizer: Any, tmp_path: Path) -> None:
    net = {"type": "module", "_target_": f"{__name__}.Changing", "kind": kind} | ({} if optimizer else {"learning_rate": 0.1})
    settings = {"layers": {"net": net}, "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"}, "optimizer_config": optimizer}
    if name is None:
        trained(tmp_path, **settings)
        return
    with pytest.raises(StateError, match=rf"Changing\.{name} is another parameter than when the run began"):
        trained(tmp_path, **settings)


class Turning(nn.Module):
    """Turns pairs of features, as rotary positions do; the turn is a buffer, or is learned."""

    def __init__(self, learns: bool = False) -> None:
        super().__init__()
        turn = torch.polar(torch.ones(3), torch.tensor([0.5, 1.0, 1.5]))
        if learns:
            self.turn = nn.Parameter(turn)
        else:
            self.register_buffer("turn", turn)
        self.linear = nn.Linear(6, 3)

    def forward(self, samples: Tensor) -> Tensor:
        pairs = torch.view_as_complex(samples.reshape(-1, 3, 2)) * self.turn
        return self.linear(torch.view_as_real(pairs).flatten(1))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_complex_buffers_keep_both_parts(precision: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "layers": {"net": {"type": "module", "_target_": f"{__name__}.Turning", "learning_rate": 0.1}},
        "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"},
        "precision": precision,
    }
    workflow = trained(tmp_path, **settings)
    found = restore(workflow.snapshotter.last_location, trusted=TRUSTED).workflow["net"].module.turn
    assert found.dtype == getattr(torch, precision).to_complex()
    assert found.to(torch.complex64).equal(Turning().turn)


def test_complex_parameters_are_refused() -> None:
    layers = {"net": {"type": "module", "_target_": f"{__name__}.Turning", "learns": True, "learning_rate": 0.1}}
    with pytest.raises(ConfigError, match=r"layers\.net: .*Turning has the parameter turn of complex numbers"):
        network(layers=layers, loss_config={"_target_": "torch.nn.CrossEntropyLoss"})
