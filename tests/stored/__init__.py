"""Snapshots of each state of the format, which every later version restores and continues to the same bytes.

`python -m tests.stored` writes the set of the current format into a folder such as `format2`. A set never changes again: a new
version of the format, or a new class with a state, gets a further one, which may have only some kinds: `python -m tests.stored
format2_metrics measured`.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from runner.graph import Bool, Repeater, Unit, Workflow
from runner.metrics import records_of
from runner.nn import StandardWorkflow
from runner.snapshots.codecs import CODECS
from runner.snapshots.snapshotter import Snapshotter
from tests.states import workflow_state

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = HERE.relative_to(ROOT) / "data"
"""Relative, as it is part of states: the tests run in the root of the checkout."""
HALF = 2
"""Epochs, or turns, before the snapshot that is kept; as many follow when it is continued."""

DENSE = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 5, "learning_rate": 0.1, "gradient_momentum": 0.9},
    "drop": {"type": "dropout", "dropout_ratio": 0.2},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
}
CONV = {
    "conv": {"type": "conv_relu", "n_kernels": 2, "kx": 3, "ky": 3, "learning_rate": 0.05},
    "pool": {"type": "max_pooling", "kx": 2, "ky": 2},
    "flat": {"_target_": "torch.nn.Flatten"},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.05},
}
BARE = {"fc1": {"type": "all2all_tanh", "output_sample_shape": 5}, "out": {"type": "softmax", "output_sample_shape": 3}}

FUNCTION = "tests.unit.nn.test_plain_loop.rising"
STEP = {"model": {"_target_": "tests.unit.nn.test_own_step.Plain"}}
BY_TORCH: dict[str, Any] = {
    "layers": {
        "flat": {"_target_": "torch.nn.Flatten"},
        "lin": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 6},
        "norm": {"_target_": "torch.nn.BatchNorm1d", "num_features": 6},
        "out": {"type": "all2all", "output_sample_shape": 3},
    },
    "loss_config": {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1, "weight": "balanced"},
    "optimizer_config": {
        "_target_": "torch.optim.AdamW",
        "lr": 0.02,
        "groups": [{"pattern": "*.bias", "weight_decay": 0}],
        "clip_norm": 1.0,
        "accumulate": 2,
    },
    "scheduler_config": {
        "_target_": "torch.optim.lr_scheduler.SequentialLR",
        "schedulers": [
            {"_target_": "torch.optim.lr_scheduler.LinearLR", "start_factor": 0.1, "total_iters": 3},
            {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 30},
        ],
        "milestones": [3],
        "by_minibatch": True,
    },
    "freeze": ["norm.bias"],
    "ema": 0.9,
}


def network(store: Any, codec: str, *, layers: Any = DENSE, images: bool = False, **settings: Any) -> Workflow:
    """Returns a small network that trains for twice `HALF` epochs."""
    table = {"data_file": str(DATA / "table.csv"), "label": "label"}
    loader = {"data_dir": str(DATA / "images"), "grayscale": True} if images else table
    return StandardWorkflow(
        "stored",
        seed=3,
        loader_name="images" if images else "table",
        loader_config=loader | {"minibatch_size": 7, "validation_ratio": 0.25},
        layers=layers,
        decision_config={"max_epochs": 2 * HALF, "fail_iterations": None},
        snapshotter_config={"store": store, "compression": codec},
        **settings,
    )


def measured(store: Any, codec: str) -> Workflow:
    """Returns a network whose minibatches have rows, with the norm of the gradient."""
    workflow = network(store, codec)
    for records in records_of(workflow):
        records.configure(every=2, gradient_norm=True)
    return workflow


def by_parts(store: Any, codec: str) -> Workflow:
    """Returns a network that takes and returns dicts, with a loss that learns and a learning rate that is a function."""
    posts = {"_target_": "tests.unit.nn.test_parts.Posts"}
    return StandardWorkflow(
        "stored",
        seed=3,
        loader_name="dataset",
        loader_config={"train": posts, "validation": posts | {"size": 9}, "minibatch_size": 7},
        layers={"model": {"_target_": "tests.unit.nn.test_parts.Net", "returns": "dict", "width": 4}},
        loss_config={"_target_": "tests.unit.nn.test_parts.Weighed", "output": ["logits", "auxiliary"]},
        optimizer_config={"_target_": "torch.optim.AdamW", "lr": 0.02},
        scheduler_config={
            "_target_": "torch.optim.lr_scheduler.LambdaLR",
            "lr_lambda": {"_target_": FUNCTION, "_partial_": True, "steps": 3},
        },
        decision_config={"max_epochs": 2 * HALF, "fail_iterations": None},
        snapshotter_config={"store": store, "compression": codec},
    )


class Count(Unit):
    """Draws a number in each turn, and ends the loop."""

    callbacks = frozenset({"ended"})

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "count")
        self.turns = 0
        self.drawn: list[float] = []
        self.texts: list[str] = []
        self.done = Bool(False)
        self.done.on_true = self.ended

    def run(self) -> None:
        self.turns += 1
        self.drawn.append(float(torch.rand(())))
        self.done <<= self.turns >= 2 * HALF

    def ended(self) -> None:
        self.texts.append("ended")

    @property
    def suffix(self) -> str:
        return f"turn_{self.turns}"


class Inner(Workflow):
    """A workflow within another."""

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "inner")
        adder = Adder(self).link_from(self.start_point)
        self.end_point.link_from(adder)


class Adder(Unit):
    """Adds what another unit has drawn."""

    drawn: list[float]

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "adder")
        self.total = torch.zeros(3, dtype=torch.float64)

    def run(self) -> None:
        self.total += self.drawn[-1]


def own(store: Any, codec: str, *, nested: bool = False, size: int = 0) -> Workflow:
    """Returns a workflow of units of one's own, which draws `HALF` numbers twice."""
    workflow = Workflow(name="own")
    torch.manual_seed(4)
    repeater = Repeater(workflow).link_from(workflow.start_point)
    count = Count(workflow)
    count.link_from(repeater)
    count.ballast = torch.rand(size)
    last: Unit = count
    if nested:
        last = Inner(workflow)
        last.link_from(count)
        last["adder"].link_attrs(count, "drawn")
    snapshotter = Snapshotter(workflow, "snapshotter", store=store, compression=codec)
    snapshotter.link_from(last).link_attrs(count, "suffix", ("complete", "done"))
    repeater.link_from(snapshotter)
    repeater.gate_block = count.done
    workflow.end_point.link_from(snapshotter)
    workflow.end_point.gate_block = ~count.done
    return workflow


Make = Callable[[Any, str], Workflow]
KINDS: dict[str, tuple[Make, str]] = {
    **{f"dense_{codec}": (network, codec) for codec in CODECS},
    "convolutional": (lambda store, codec: network(store, codec, layers=CONV, images=True), "gz"),
    "optimizer": (
        lambda store, codec: network(store, codec, layers=BARE, optimizer_config={"_target_": "torch.optim.AdamW", "lr": 0.02}),
        "gz",
    ),
    "rollback": (
        lambda store, codec: network(
            store,
            codec,
            rollback_config={"fail_iterations": 1},
            lr_adjuster_config={"policy": "exp", "parameters": {"gamma": 0.9}},
        ),
        "zst",
    ),
    "measured": (measured, "gz"),
    "by_torch": (lambda store, codec: network(store, codec, **BY_TORCH), "gz"),
    "sharded": (lambda store, codec: network(store, codec, shards=4), "gz"),
    "by_parts": (by_parts, "gz"),
    "own_step": (lambda store, codec: network(store, codec, layers=STEP), "gz"),
    "own": (own, "xz"),
    "nested": (lambda store, codec: own(store, codec, nested=True), "gz"),
}
"""What is kept as a file, by name: how it is made, and its codec."""
DATABASE: tuple[Make, str] = (lambda store, codec: own(store, codec, size=6000), "none")
"""What is kept in a SQLite database, with rows of 4 KiB, so that several are needed."""


def digests(workflow: Workflow) -> dict[str, str]:
    """Returns a digest of each part of a workflow's state."""
    return {path: hashlib.sha256(value).hexdigest()[:16] for path, value in sorted(workflow_state(workflow).items())}


def processor() -> str:
    """Returns what the last bits of floating-point sums depend on."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
