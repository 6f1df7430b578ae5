"""Small units and workflows that the tests are made of."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runner.graph import Bool, Repeater, Unit, Workflow
from runner.snapshots.constructors import SnapshotterToFile
from runner.snapshots.snapshotter import Snapshotter


class Recorder(Unit):
    """Writes its name into the log that its whole tree of workflows shares."""

    def run(self) -> None:
        outermost(self).log.append(self.name)


class LoggedWorkflow(Workflow):
    """A workflow with the log of what ran in it."""

    def __init__(self, workflow: Workflow | None = None, name: str | None = None) -> None:
        super().__init__(workflow, name)
        self.log: list[str] = []


class Pickler(Recorder):
    """Takes the pickle of the outermost workflow each time it runs."""

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.taken_: list[bytes] = []

    def run(self) -> None:
        super().run()
        self.taken_.append(pickle.dumps(outermost(self)))


class Counter(Recorder):
    """Opens a gate when it has run often enough; the gate is that of the end point, and closes the repeater's."""

    def __init__(self, workflow: Workflow, name: str, turns: int) -> None:
        super().__init__(workflow, name)
        self.turns = turns
        self.done = Bool(False)

    def run(self) -> None:
        super().run()
        self.turns -= 1
        self.done <<= self.turns <= 0


class Failing(Recorder):
    """Fails so many times before it runs."""

    def __init__(self, workflow: Workflow, name: str, failures: int = 1) -> None:
        super().__init__(workflow, name)
        self.failures = failures

    def run(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ArithmeticError("as asked for")
        super().run()


class Stopping(Recorder):
    """Stops the outermost workflow the first time it runs."""

    def __init__(self, workflow: Workflow, name: str) -> None:
        super().__init__(workflow, name)
        self.stopped = False

    def run(self) -> None:
        super().run()
        if not self.stopped:
            self.stopped = True
            outermost(self).stop()


class Plotter(Recorder):
    """Only draws."""

    plotter = True
    view_group = "plotter"


class Holder(Unit):
    """Holds whatever values it is given."""

    def __init__(self, workflow: Workflow, name: str | None = None, **values: Any) -> None:
        super().__init__(workflow, name)
        vars(self).update(values)


def outermost(unit: Unit) -> Any:
    """Returns the outermost workflow of a unit."""
    while unit.workflow is not None:
        unit = unit.workflow
    return unit


def chain(workflow: Workflow, *units: Unit) -> None:
    """Links the units from the workflow's start point to its end point."""
    previous: Unit = workflow.start_point
    for unit in (*units, workflow.end_point):
        unit.link_from(previous)
        previous = unit


def loop(workflow: Workflow, *units: Unit, counter: Unit) -> Repeater:
    """Makes the units a loop, which one of them ends, after the last unit, by its `done`."""
    repeater = Repeater(workflow, "repeater").link_from(workflow.start_point)
    previous: Unit = repeater
    for unit in units:
        unit.link_from(previous)
        previous = unit
    repeater.link_from(previous)
    repeater.gate_block = counter.done
    workflow.end_point.link_from(previous)
    workflow.end_point.gate_block = ~counter.done
    return repeater


def snapshotter(workflow: Workflow, directory: object = "snapshots", **settings: Any) -> Snapshotter:
    """Makes a snapshotter that writes into the folder."""
    return SnapshotterToFile(workflow, "snapshotter", directory=directory, **settings)


def ran(workflow: Workflow) -> list[str]:
    """Initializes and runs the workflow; returns its log."""
    workflow.initialize()
    workflow.run()
    return workflow.log


@contextmanager
def recursion_limit(depth: int) -> Iterator[None]:
    """Allows only so many calls more than there are now."""
    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(used + depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
