"""What code of the user's own does to what it is given, holds or leaves out changes no other number, or is told."""

import json
from pathlib import Path

import pytest

from tests.conftest import Run

CODE = """
import torch

class Out(torch.nn.Module):
    def forward(self, x):
        return x * 0.9

class In(torch.nn.Module):
    def forward(self, x):
        return x.mul_(0.9)

class Rate:
    def __init__(self):
        self.count, self.seen, self.name = 0, [], lambda: "constant, and in no snapshot"
    def __call__(self, step):
        self.count += 1
        self.seen.append(step)
        return 0.9 ** (self.count + len(self.seen))

def counting():
    count = 0
    def rate(step):
        nonlocal count
        count += 1
        return 0.9 ** (2 * count)
    return rate

class Step(torch.nn.Module):
    def __init__(self, learns, in_place=False):
        super().__init__()
        self.layer = torch.nn.Linear(13, 3)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.learns, self.in_place = learns, in_place
    def forward(self, x):
        return self.layer(x)
    def training_step(self, x, y):
        loss = torch.nn.functional.cross_entropy(self(x.mul_(0.9) if self.in_place else x * 0.9), y)
        if self.learns and torch.is_grad_enabled():
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if self.in_place:
            y.zero_()
        return loss
"""
CONFS = {
    "scaled": "layers: {scale: {_target_: mine.Out}, out: {type: softmax, learning_rate: 0.1}}\n",
    "rates": "layers: {out: {type: all2all, output_sample_shape: 3}}\nloss: {_target_: torch.nn.CrossEntropyLoss}\n"
    "optimizer: {_target_: torch.optim.SGD, lr: 0.1}\n"
    "scheduler: {_target_: torch.optim.lr_scheduler.LambdaLR, lr_lambda: {_target_: mine.Rate}}\n",
    "step": "model: {_target_: mine.Step, learns: true}\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "conf").mkdir()
    for name, text in CONFS.items():
        begin = "loader: {name: wine, minibatch_size: 20, validation_ratio: 0.25}\ndecision: {max_epochs: 4}\nseed: 1\n"
        (tmp_path / "conf" / f"{name}.yaml").write_text(begin + text)
    return tmp_path


def rows(folder: Path) -> list[dict[str, object]]:
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in ("seconds", "samples_per_second")} for row in found]


@pytest.mark.parametrize(
    ("conf", "typed"),
    [
        ("scaled", "layers.scale._target_=mine.In"),
        ("step", "+model.in_place=true"),
        ("rates", "seed=1"),
        ("rates", "scheduler.lr_lambda._target_=mine.counting"),
    ],
)
def test_what_is_changed_in_place_or_held_goes_on_exactly(conf: str, typed: str, folder: Path, veles_run: Run) -> None:
    veles_run(conf, "hydra.run.dir=without")
    veles_run(conf, typed, "hydra.run.dir=whole")
    veles_run(conf, typed, "decision.max_epochs=2", "hydra.run.dir=half")
    snapshot = f"snapshot=half/{conf}_current.5.pickle.gz"
    veles_run(conf, typed, snapshot, "decision.max_epochs=4", "hydra.run.dir=rest")
    assert rows(folder / "rest") == rows(folder / "whole") == rows(folder / "without")
    last = [row for row in rows(folder / "half") if row["split"] == "validation"][-1]
    veles_run(conf, typed, snapshot, "mode=evaluate", "output=scores.json")
    assert json.loads((folder / "scores.json").read_text())["splits"]["validation"]["loss"] == last["loss"]


def test_a_step_that_changes_nothing_is_told_once(folder: Path, veles_run: Run) -> None:
    told = "Step.training_step has changed no parameter in 7 minibatches"
    assert veles_run("step", "model.learns=false").stdout.count(told) == 1
    assert told not in veles_run("step").stdout


def test_rates_that_are_none_name_their_scheduler(folder: Path, veles_run: Run) -> None:
    (folder / "mine.py").write_text("def rate(step):\n    return -1.0 if step else 1.0\n")
    line = veles_run("rates", "scheduler.lr_lambda={_target_: mine.rate, _partial_: true}", code=2).stderr
    assert "optimizer: lr by its scheduler=-0.1 must be between 0 and" in line


@pytest.mark.parametrize("frozen", ["out.*", "*bias"])
def test_the_norm_of_the_gradient_has_no_frozen_parameters(frozen: str, folder: Path, veles_run: Run) -> None:
    found = []
    for layers in (
        "layers={fc1: {type: all2all, output_sample_shape: 5}, out: {type: all2all, output_sample_shape: 3}}",
        "layers={fc1: {_target_: torch.nn.Linear, in_features: 13, out_features: 5},"
        " out: {_target_: torch.nn.Linear, in_features: 5, out_features: 3}}",
    ):
        words = (
            "loader.name=wine",
            "loader.validation_ratio=0.25",
            "loss._target_=torch.nn.CrossEntropyLoss",
            layers,
            "seed=1",
        )
        (folder / "conf" / "empty.yaml").write_text("decision: {max_epochs: 1}\n")
        frozen_ones = (f"freeze=['{frozen}']", "optimizer=sgd", "optimizer.lr=0", "metrics.gradient_norm=true")
        veles_run("empty", *words, *frozen_ones, f"hydra.run.dir=run{len(found)}")
        found.append(rows(folder / f"run{len(found)}")[0]["gradient_norm"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_list_of_layers_takes_the_place_of_those_before(folder: Path, veles_run: Run) -> None:
    text = "defaults: [scaled, _self_]\nlayers:\n- {type: all2all_tanh, output_sample_shape: 7}\n- {type: softmax}\n"
    (folder / "conf" / "listed.yaml").write_text(text)
    model = next(line for line in veles_run("listed").stdout.splitlines() if line.startswith("Model: "))
    assert "scale" not in model
    assert model.count(",") == 1


def test_an_unknown_reference_in_the_name_of_the_folder_is_one_line(folder: Path, veles_run: Run) -> None:
    done = veles_run("scaled", "hydra.run.dir=out/${conf}", code=2)
    assert done.stderr.splitlines() == ["veles-run: hydra.run.dir: Interpolation key 'conf' not found"]
