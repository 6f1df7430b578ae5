"""How cost grows with size: processor time over three decades, and the exponent that fits it.

    OMP_NUM_THREADS=1 python -m benchmarks.growth [WORD ...]

Each case does a whole piece of work of some size, such as n snapshots into one folder; so an exponent of 1 says that each part
costs the same, however many there are. It is fitted to the three larger sizes, without what the smallest costs, which would
hide growth. The times are those of the processor, all threads together; the least of three, unless one takes a second. With
words, only the cases that have one of them in their names are measured. It exits with 1 if something grew faster than the work.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import print_table
from runner.datasets import image_files, tables
from runner.graph import Bool, Repeater, Unit, Workflow
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store
from tests import servers
from tests.networks import network
from tests.units import Holder

ROUNDS = 3
LONG = 1.0
"""Seconds from which one measurement is enough."""
MOST = 1.1
"""The exponent above which a cost has grown faster than the work; where caches no longer hold it, it is a little above 1."""

Action = Callable[[], object]
Prepare = Callable[[int, Path], Action]
"""Makes what is needed for so much work, in a folder of its own, and returns the work."""
Units = Callable[[Workflow, Unit], Unit]
"""Adds units to a workflow after one of its units, and returns the last."""


def workflow_with(units: Units, store: Store, **settings: Any) -> tuple[Workflow, Snapshotter]:
    """Returns a workflow whose loop has units, of which the function returns the last, and a snapshotter."""
    workflow = Workflow(name="growth")
    repeater = Repeater(workflow).link_from(workflow.start_point)
    last = units(workflow, repeater)
    snapshotter = Snapshotter(workflow, store=store, compression="none", blocking=True, **settings).link_from(last)
    workflow.end_point.link_from(snapshotter)
    repeater.link_from(snapshotter)
    return workflow, snapshotter


def holding(value: Any, store: Store, **settings: Any) -> Snapshotter:
    """Returns the snapshotter of an initialized workflow that holds a value."""

    def units(workflow: Workflow, repeater: Unit) -> Unit:
        return Holder(workflow, value=value).link_from(repeater)

    workflow, snapshotter = workflow_with(units, store, **settings)
    workflow.initialize()
    return snapshotter


def snapshot_of(make: Callable[[int], Any]) -> Prepare:
    return lambda size, folder: holding(make(size), FileStore(folder)).export


def restore_of(make: Callable[[int], Any]) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        snapshotter = holding(make(size), FileStore(folder))
        snapshotter.export()
        return lambda: restore(snapshotter.last_location, trusted=["tests"])

    return prepare


def small_tensors(size: int) -> list[torch.Tensor]:
    return [torch.zeros(4) for _ in range(size)]


def objects(size: int) -> list[tuple[int, str, float]]:
    return [(number, f"object {number}", number / 7) for number in range(size)]


def nested_lists(size: int) -> list[Any]:
    outermost: list[Any] = []
    innermost = outermost
    for _ in range(size):
        innermost.append([])
        innermost = innermost[0]
    return outermost


def chain(size: int) -> Units:
    def units(workflow: Workflow, first: Unit) -> Unit:
        for _ in range(size):
            first = Unit(workflow).link_from(first)
        return first

    return units


def joined(size: int) -> Units:
    def units(workflow: Workflow, first: Unit) -> Unit:
        join = Unit(workflow)
        for _ in range(size):
            join.link_from(Unit(workflow).link_from(first))
        return join

    return units


def linked(size: int) -> Units:
    """Units of which each has an attribute of the first."""

    def units(workflow: Workflow, first: Unit) -> Unit:
        last = source = Holder(workflow, value=0).link_from(first)
        for _ in range(size):
            last = Holder(workflow).link_from(last).link_attrs(source, "value")
        return last

    return units


def linked_in_a_chain(size: int) -> Units:
    """Units of which each has an attribute of the one before."""

    def units(workflow: Workflow, first: Unit) -> Unit:
        last: Unit = Holder(workflow, value=0).link_from(first)
        for _ in range(size):
            last = Holder(workflow).link_from(last).link_attrs(last, "value")
        return last

    return units


def nested(size: int) -> Units:
    """Workflows of which each is in the one before."""

    def units(workflow: Workflow, first: Unit) -> Unit:
        outermost = inner = Workflow(workflow).link_from(first)
        for _ in range(size):
            within = Workflow(inner).link_from(inner.start_point)
            inner.end_point.link_from(within)
            inner = within
        inner.end_point.link_from(inner.start_point)
        return outermost

    return units


def constructing(units: Callable[[int], Units]) -> Prepare:
    return lambda size, folder: lambda: workflow_with(units(size), FileStore(folder))


def initializing(units: Callable[[int], Units]) -> Prepare:
    return lambda size, folder: workflow_with(units(size), FileStore(folder))[0].initialize


def snapshotting(units: Callable[[int], Units]) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        workflow, snapshotter = workflow_with(units(size), FileStore(folder))
        workflow.initialize()
        return snapshotter.export

    return prepare


def restoring(units: Callable[[int], Units]) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        workflow, snapshotter = workflow_with(units(size), FileStore(folder))
        workflow.initialize()
        snapshotter.export()
        return lambda: restore(snapshotter.last_location, trusted=["tests"])

    return prepare


def terms_of_a_bool(size: int, folder: Path) -> Action:
    terms = [Bool(False) for _ in range(size)]

    def together() -> None:
        total = terms[0]
        for term in terms[1:]:
            total = total | term
        assert not total

    return together


def epochs(size: int, folder: Path) -> Action:
    """A run, with a snapshot after each epoch, of which the last few are kept."""
    settings = {"directory": str(folder), "compression": "none", "keep_last": 3}
    workflow = network(decision_config={"max_epochs": size, "fail_iterations": None}, snapshotter_config=settings)
    workflow.initialize()
    return workflow.run


def snapshots_into(store: Callable[[Path], Store], **settings: Any) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        snapshotter = holding(None, store(folder), **settings)
        snapshotter.store.prepare()

        def export() -> None:
            for _ in range(size):
                snapshotter.export()

        return export

    return prepare


def list_of(store: Callable[[Path], Store]) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        found = store(folder)
        snapshots_into(lambda _: found)(size, folder)()
        return lambda: list(found.list())

    return prepare


def in_sqlite(folder: Path) -> Store:
    return OdbcStore(servers.sqlite(folder).odbc)


def csv(rows: Callable[[int], int], columns: Callable[[int], int]) -> Prepare:
    def prepare(size: int, folder: Path) -> Action:
        path = folder / "table.csv"
        values = np.random.default_rng(1).normal(size=(rows(size), columns(size)))
        names = ",".join(f"c{number}" for number in range(columns(size)))
        np.savetxt(path, values, "%.5f", ",", header=names, comments="")
        return lambda: tables.load("loader.data_file", str(path))

    return prepare


def images(size: int, folder: Path) -> Action:
    from PIL import Image

    (folder / "cat").mkdir()
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    for number in range(size):
        image.save(folder / "cat" / f"{number}.png")

    def load() -> None:
        found = image_files.find("loader.data_dir", str(folder))
        image_files.load(found, list(found))

    return load


MANY, SOME, FEW = ((30, 300, 3_000, 30_000), (10, 100, 1_000, 10_000), (1, 10, 100, 1_000))

NESTED = (1, 5, 25, 125)

CASES: dict[str, tuple[Sequence[int], Prepare]] = {
    "tensors: snapshot": (MANY, snapshot_of(small_tensors)),
    "tensors: restore": (MANY, restore_of(small_tensors)),
    "plain objects: snapshot": (MANY, snapshot_of(objects)),
    "plain objects: restore": (MANY, restore_of(objects)),
    "nested lists: snapshot": (NESTED, snapshot_of(nested_lists)),
    "nested lists: restore": (NESTED, restore_of(nested_lists)),
    "chain of units: construct": (SOME, constructing(chain)),
    "chain of units: initialize": (SOME, initializing(chain)),
    "chain of units: snapshot": (SOME, snapshotting(chain)),
    "chain of units: restore": (SOME, restoring(chain)),
    "units that join: construct": (SOME, constructing(joined)),
    "units that join: initialize": (SOME, initializing(joined)),
    "units that join: restore": (SOME, restoring(joined)),
    "linked attributes: construct": (SOME, constructing(linked)),
    "linked attributes: initialize": (SOME, initializing(linked)),
    "linked attributes: restore": (SOME, restoring(linked)),
    "a chain of linked attributes: construct": (SOME, constructing(linked_in_a_chain)),
    "a chain of linked attributes: initialize": (SOME, initializing(linked_in_a_chain)),
    "a chain of linked attributes: snapshot": (SOME, snapshotting(linked_in_a_chain)),
    "a chain of linked attributes: restore": (SOME, restoring(linked_in_a_chain)),
    "nested workflows: initialize": (NESTED, initializing(nested)),
    "nested workflows: restore": (NESTED, restoring(nested)),
    "terms of a Bool": (NESTED, terms_of_a_bool),
    "epochs with snapshots": (FEW, epochs),
    "snapshots into a folder": (FEW, snapshots_into(FileStore)),
    "snapshots into a folder, 3 kept": (FEW, snapshots_into(FileStore, keep_last=3)),
    "snapshots into a folder, 100 kept": (FEW, snapshots_into(FileStore, keep_last=100)),
    "snapshots into SQLite": (FEW, snapshots_into(in_sqlite)),
    "snapshots into SQLite, 3 kept": (FEW, snapshots_into(in_sqlite, keep_last=3)),
    "list of a folder": (FEW, list_of(FileStore)),
    "list of SQLite": (FEW, list_of(in_sqlite)),
    "CSV: rows": (MANY, csv(lambda size: size, lambda _: 17)),
    "CSV: columns": (SOME, csv(lambda _: 20, lambda size: size)),
    "images": (FEW, images),
}
"""For each kind of work the sizes, and what prepares it."""


def least(prepare: Prepare, size: int) -> float:
    """Returns the least seconds of the processor that work of a size takes."""
    found = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            work = prepare(size, Path(folder))
            gc.collect()
            began = time.process_time()
            work()
            found.append(time.process_time() - began)
        if found[-1] > LONG:
            break
    return min(found)


def exponent(sizes: Sequence[int], spent: Sequence[float]) -> float:
    """Returns the slope of the line that fits the logarithms of the three largest, without what the smallest costs.

    Costs that do not depend on the size hide growth. Where they are most of a cost, what is left is noise, and counts less.
    """
    fixed = spent[0]
    grown = np.array([max(one - fixed, fixed / 10) for one in spent[1:]])
    return float(np.polyfit(np.log(sizes[1:]), np.log(grown), 1, w=grown / (grown + fixed))[0])


def main() -> int:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    gc.freeze()  # as veles-run does with what it has imported
    words, rows, grown = sys.argv[1:], [], []
    with ExitStack() as stack:
        stack.enter_context(servers.odbc_settings())
        for name, (sizes, prepare) in CASES.items():
            if words and not any(word in name for word in words):
                continue
            spent = [least(prepare, size) for size in sizes]
            fitted = exponent(sizes, spent)
            print(f"{name}: {fitted:.2f}", file=sys.stderr)
            rows.append(
                (name, *(f"{size:,}: {1000 * one:.3g}" for size, one in zip(sizes, spent, strict=True)), f"{fitted:.2f}")
            )
            if fitted > MOST:
                grown.append(f"{name}: {fitted:.2f}")
    print_table("Cost against size", ("what", *("size: ms",) * 4, "exponent"), rows)
    print(f"\nGrew faster than the work (above {MOST}): {', '.join(grown) or 'nothing'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
