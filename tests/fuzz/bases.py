"""Honest snapshots: networks of every kind of layer, and workflows in workflows with Bools, links and loops."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from runner.graph import Bool, Unit, Workflow
from runner.metrics import records_of
from runner.nn.loading.loader_types import LOADERS
from runner.snapshots.capture.pickler import dump
from runner.snapshots.constructors import SnapshotterToFile
from tests.fuzz.nodes import read
from tests.networks import BlobsLoader, network
from tests.unit.nn.test_state_types import NETWORKS
from tests.units import loop

FOLDER = "snapshots"
TRUSTED = ("tests.networks", "tests.fuzz.bases", "tests.unit.nn.test_own_step", "tests.unit.nn.test_parts", "torchmetrics")


class FewBlobs(BlobsLoader):
    """A data set that is learned in no time."""

    sizes = {0: 3, 1: 4, 2: 8}


class Turn(Unit):
    """Ends its workflow's loop after some turns."""

    callbacks = frozenset({"notice"})

    turns: int
    done: Bool
    seen: int

    def __init__(self, workflow: Workflow, name: str, turns: int) -> None:
        super().__init__(workflow, name)
        self.turns = turns
        self.done = Bool(False)
        self.seen = 0

    def notice(self) -> None:
        self.seen += 1

    def run(self) -> None:
        self.turns -= 1
        self.done <<= self.turns <= 0


def _loop(workflow: Workflow, turns: int, *units: Unit) -> Turn:
    turn = Turn(workflow, "turn", turns)
    loop(workflow, turn, *units, counter=turn)
    return turn


def nested() -> Workflow:
    """A workflow in a workflow in a workflow, whose innermost loop takes the snapshots."""
    outer = Workflow(name="outer")
    middle = Workflow(outer, "middle")
    first, second = Unit(outer, "first"), Unit(outer, "second")
    turn = _loop(outer, 3, first, middle, second)
    inner = Workflow(middle, "inner")
    _loop(middle, 2, inner)
    snapshotter = SnapshotterToFile(inner, "snapshotter", directory=FOLDER, compression="none", prefix="inner")
    inside = _loop(inner, 2, snapshotter)
    first.link_attrs(second, "value", two_way=True)
    second.value = [1, {"a": 2.0}]  # type: ignore[attr-defined]
    second.link_attrs(turn, "turns", "seen")
    middle.gate_skip = turn.done & ~inside.done
    inside.done.on_true = turn.notice
    (turn.done ^ inside.done).on_false = inside.notice
    return outer


def flat() -> Workflow:
    """Two branches that meet, with the snapshotter behind."""
    workflow = Workflow(name="flat")
    one, two, three = (Unit(workflow, name) for name in ("one", "two", "three"))
    snapshotter = SnapshotterToFile(workflow, "snapshotter", directory=FOLDER, compression="none", keep_last=2)
    turn = _loop(workflow, 3, one, three, snapshotter)
    two.link_from(turn)
    three.link_from(two)
    three.link_attrs(one, ("x", "y"))
    one.y = 5  # type: ignore[attr-defined]
    snapshotter.link_attrs(turn, ("complete", "done"))
    two.gate_block = turn.done
    return workflow


def networks() -> dict[str, Workflow]:
    """Networks that have been trained, by name."""
    LOADERS["few"] = FewBlobs
    made = {}
    for name, settings in NETWORKS.items():
        if "double" in name:
            continue
        taken: dict[str, Any] = {"loader_name": "few", "loader_config": {"minibatch_size": 4}} | settings
        made[name] = network(Path(FOLDER), **taken)
    return made


def tree_of(workflow: Workflow) -> Any:
    """Returns the pickle of a workflow as a tree."""
    buffer = io.BytesIO()
    dump(workflow, buffer)
    return read(buffer.getvalue())


def trees() -> dict[str, Any]:
    """Returns the pickles of all, as trees: of runs that have a way to go."""
    found = {}
    for name, workflow in {"nested": nested(), "flat": flat(), **networks()}.items():
        for records in records_of(workflow):
            records.configure(every=1, gradient_norm=True)
        workflow.initialize()
        workflow.run()
        if hasattr(workflow, "decision"):
            workflow.override("decision.max_epochs", 50)
        found[name] = tree_of(workflow)
    return found
