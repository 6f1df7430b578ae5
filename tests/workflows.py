"""Small workflows for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.graph import Bool, Repeater, Unit, Workflow
from runner.snapshots.restoring.restore import Restored, restore
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store


class Holder(Unit):
    """Has a value, and counts how often it ran."""

    def __init__(self, workflow: Workflow, value: Any = None, name: str | None = None) -> None:
        super().__init__(workflow, name)
        self.value = value
        self.runs = 0
        self.limit = 1
        self.done = Bool(False)

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.on_run_: Callable[[], None] | None = None

    def run(self) -> None:
        self.runs += 1
        if self.on_run_ is not None:
            self.on_run_()
        self.done <<= self.runs >= self.limit

    @property
    def suffix(self) -> str:
        return f"run_{self.runs}"


def restored(location: str | Path) -> Restored:
    """Restores a workflow of units of the tests."""
    return restore(location, trusted=["tests"])


def holding(value: Any, directory: Path, *, limit: int = 1, **settings: Any) -> tuple[Workflow, Holder, Snapshotter]:
    """Returns a workflow whose one unit runs `limit` times, with a snapshot after each."""
    return stored(value, FileStore(directory), limit=limit, **settings)


def stored(value: Any, store: Store, *, limit: int = 1, **settings: Any) -> tuple[Workflow, Holder, Snapshotter]:
    """Returns the same, with the snapshots in any store."""
    workflow = Workflow(name="holding")
    snapshotter = Snapshotter(workflow, "snapshotter", store=store, **settings)
    return workflow, _linked(snapshotter, value, limit), snapshotter


def _linked(snapshotter: Snapshotter, value: Any, limit: int) -> Holder:
    workflow = snapshotter.workflow
    repeater = Repeater(workflow).link_from(workflow.start_point)
    holder = Holder(workflow, value, "holder")
    holder.limit = limit
    holder.link_from(repeater)
    snapshotter.link_from(holder)
    snapshotter.link_attrs(holder, "suffix", ("complete", "done"))
    repeater.link_from(snapshotter)
    repeater.gate_block = holder.done
    workflow.end_point.link_from(snapshotter)
    workflow.end_point.gate_block = ~holder.done
    workflow.initialize()
    return holder
