"""Commands of `veles-snapshots` that only look: ls, show, best, tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

import typer

from runner.cli.shelf import options
from runner.cli.shelf.printing import (
    ENTRIES,
    Column,
    described,
    dump,
    dump_rows,
    number,
    percent,
    say,
    short,
    size,
    table,
    time_of,
    warn,
)
from runner.errors import SnapshotError, SnapshotNotFoundError
from runner.flat import flattened
from runner.memory import without_garbage_collection
from runner.snapshots.shelf.contents import Contents, read_contents
from runner.snapshots.shelf.lineage import Process, processes
from runner.snapshots.shelf.shelf import rankings
from runner.snapshots.shelf.wanted import best_of
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.spool import DEFAULT_SPOOL
from runner.snapshots.stores.store import Entry

PAGE = 50
"""Snapshots that are listed unless more are asked for."""


def ls(
    place: options.Place = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    spool: options.Spool = DEFAULT_SPOOL,
    workflow: options.Workflow = None,
    run: options.Run = None,
    metric: options.Metric = None,
    newer: options.Newer = None,
    older: options.Older = None,
    tag: options.Tag = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to list at most.")] = PAGE,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List all of them.")] = False,
    as_json: options.Json = False,
) -> None:
    """Lists snapshots, newest first.

    The id may be shortened wherever a snapshot is named. A + behind the epoch means that the next one had begun. The ratio is
    of the stored bytes to those of the state, where a later snapshot tells what the state came to.

    \b
    veles-snapshots ls
    veles-snapshots ls outputs/mnist --metric 'validation<2' --newer 7d
    veles-snapshots ls --odbc 'DRIVER={SQLite3};Database=runs.db' --json
    """
    shelf = options.shelf(place, odbc, table_name, spool)
    unreadable: list[tuple[str, SnapshotError]] = []
    found = shelf.entries(
        options.wanted(workflow, run, metric, newer, older, tag), lambda where, error: unreadable.append((where, error))
    )
    page = found if everything else islice(found, limit)
    with without_garbage_collection():  # headers hold no cycles, and to look for them takes a twentieth of the time
        if as_json:
            dump_rows(rows_of(page, shelf.marks))
            count = None
        else:
            count = table(rows_of(page, shelf.marks), ENTRIES)
    for where, error in unreadable:
        warn(f"{where} is passed over: {error}")
    if count == limit and not everything and next(found, None) is not None:
        warn(f"There are more than these {limit}: --limit N or --all lists them")
    if count == 0:
        warn(options.unknown_metrics(shelf, metric) or f"There is no such snapshot in {shelf.store}")


def rows_of(entries: Iterable[Entry], marks: Mapping[str, Mark]) -> Iterator[dict[str, Any]]:
    """Yields what is told of snapshots, newest first; a later one knows what the state of an earlier one came to."""
    states: dict[str, Any] = {}
    for entry in entries:
        previous = entry.header.previous or {}
        states[str(previous.get("uuid"))] = previous.get("state")
        state = states.pop(entry.header.uuid, None) if entry.state is None else entry.state
        yield described(entry, state if isinstance(state, int) else None, marks.get(entry.header.uuid))


def show(
    snapshot: options.Snapshot,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """Shows what a snapshot holds.

    That is its header, configuration, versions, units by size, and arrays. Nothing of the snapshot is run or built, whoever
    made it. All of it is read and verified first.

    \b
    veles-snapshots show outputs/mnist/2026-11-24/11-24-19-dfc837/mnist_current.5.pickle.gz
    veles-snapshots show 3fa1bc02 --json
    """
    entry, store = options.shelf(place, odbc, table_name).find(snapshot)
    with options.about(entry.location):
        contents = read_contents(store.open(entry.location), options.secret(key))
    values = _shown(entry, contents, store.marks().get(entry.header.uuid))
    if as_json:
        dump(values)
    else:
        _print(values)


def _shown(entry: Entry, contents: Contents, mark: Mark | None) -> dict[str, Any]:
    return {
        **described(entry, contents.state, mark),
        "header": vars(entry.header),
        "units": [{"name": unit.name, "class": unit.cls, "size": unit.size} for unit in contents.units],
        "arrays": [{"path": one.path, "dtype": one.dtype, "shape": list(one.shape)} for one in contents.arrays],
    }


def _print(values: dict[str, Any]) -> None:
    header = values["header"]
    for key in ("location", "uuid", "time", "workflow", "epoch", "iteration", "error", "run", "process", "parent"):
        if values[key] is not None:
            say(f"{key:12} {values[key]}")
    if values["tags"]:
        say(f"{'tags':12} {' '.join(values['tags'])}")
    if values["note"]:
        say(f"{'note':12} {values['note']}")
    for name, value in header["metrics"].items():
        say(f"{'metric':12} {name} {value}")
    state, stored = size(values["state"]), size(values["stored"])
    say(f"{'size':12} {state}{f' -> {stored}' if stored else ''} {values['codec']} {percent(values['ratio'])}".rstrip())
    say(f"{'made by':12} {', '.join(f'{name} {version}' for name, version in header['versions'].items())}")
    if header["overrides"]:
        say(f"{'typed':12} {' '.join(map(str, header['overrides']))}")
    say()
    settings = [(key, value) for key, value in flattened(header["config"]).items() if value is not None]
    table(settings, (Column("configuration", lambda row: row[0]), Column("value", lambda row: row[1])))
    say()
    units = sorted(values["units"], key=lambda unit: -int(unit["size"]))
    table(
        units,
        (
            Column("unit", lambda row: row["name"]),
            Column("class", lambda row: row["class"]),
            Column("size", lambda row: size(row["size"]), right=True),
        ),
    )
    say()
    table(
        values["arrays"],
        (
            Column("array", lambda row: row["path"]),
            Column("type", lambda row: row["dtype"]),
            Column("shape", lambda row: " x ".join(map(str, row["shape"])) or "single value"),
        ),
    )


def best(
    place: options.Place = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    workflow: options.Workflow = None,
    run: options.Run = None,
    metric: options.Metric = None,
    newer: options.Newer = None,
    older: options.Older = None,
    tag: options.Tag = None,
    as_json: options.Json = False,
) -> None:
    """Lists the best snapshot of each workflow.

    That is the one with the lowest error, of equal ones the oldest. Errors of a validation set are not compared with those of
    training sets: where there are any of the first, they alone count. With --workflow it prints the location alone, for
    scripts. The exit code is 2 if there is none.

    \b
    veles-snapshots best
    veles-run snapshot="$(veles-snapshots best outputs --workflow mnist)" mode=evaluate
    """
    shelf = options.shelf(place, odbc, table_name)
    ranked = rankings(shelf.entries(options.wanted(workflow, run, metric, newer, older, tag)))
    found = {name: one.best for name, one in ranked.items() if one.best is not None}
    if not found:
        unknown = options.unknown_metrics(shelf, metric)
        raise SnapshotNotFoundError(unknown or f"there is no such snapshot with an error in {shelf.store}")
    for name, one in ranked.items():
        if one.left_out is not None:
            warn(f"The best of {name!r}: {one.left_out}")
    if as_json:
        dump(list(rows_of(found.values(), shelf.marks)))
    elif workflow is not None:
        say(found[workflow].location)
    else:
        table(rows_of(found.values(), shelf.marks), ENTRIES)


def tree(
    place: options.Place = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    workflow: options.Workflow = None,
    run: options.Run = None,
    as_json: options.Json = False,
) -> None:
    """Shows which run was resumed from which.

    Branches are drawn below what they began from. Each line is a process, with the id that its run has, and what it wrote. A
    process whose snapshots are all gone is not seen.

    \b
    veles-snapshots tree outputs --workflow mnist
    """
    shelf = options.shelf(place, odbc, table_name)
    found = processes(shelf.entries(options.wanted(workflow, run, None, None, None)))
    if as_json:
        dump([_node(process) for process in found])
        return
    if not found:
        warn(f"There is no such snapshot in {shelf.store}")
    lines = [(text, process) for root in found if root.parent is None for text, process in _lines(root)]
    table(
        lines,
        (
            Column("process", lambda row: row[0]),
            Column("run", lambda row: short(row[1].first.header.log_id), importance=4),
            Column("first (UTC)", lambda row: time_of(row[1].first.header.time), importance=3),
            Column("snapshots", lambda row: len(row[1].entries), right=True),
            Column("epochs", lambda row: _epochs(row[1])),
            Column("best", lambda row: number(_best(row[1])), right=True),
            Column("from", lambda row: _origin(row[1])),
            Column("typed", lambda row: " ".join(map(str, row[1].first.header.overrides)), importance=2),
        ),
    )


def _lines(root: Process) -> Iterator[tuple[str, Process]]:
    """Yields the processes below one, each with its place in the tree drawn."""
    pending = [(root, "", "")]
    while pending:
        process, joint, indent = pending.pop()
        yield f"{joint}{short(process.first.header.run_id)} {process.first.header.workflow}", process
        for number_, child in reversed(list(enumerate(process.children))):
            last = number_ == len(process.children) - 1
            pending.append((child, f"{indent}{'└─ ' if last else '├─ '}", f"{indent}{'   ' if last else '│  '}"))


def _epochs(process: Process) -> str:
    first, last = process.first.header.epoch, process.last.header.epoch
    return (f"{first} to {last}" if first != last else str(first)) + (", complete" if process.last.header.complete else "")


def _best(process: Process) -> float | None:
    found = best_of(process.entries)
    return None if found is None else found.header.score


def _origin(process: Process) -> str:
    if process.first.header.parent is None or process.parent is None:
        return ""
    if process.origin is None:
        return "a snapshot that is gone"
    return f"{short(process.origin.header.uuid)}{' (branch)' if process.branches else ''}"


def _node(process: Process) -> dict[str, Any]:
    header = process.first.header
    return {
        "process": header.run_id,
        "run": header.log_id,
        "workflow": header.workflow,
        "first": header.time,
        "last": process.last.header.time,
        "snapshots": [entry.header.uuid for entry in process.entries],
        "epochs": [header.epoch, process.last.header.epoch],
        "complete": process.last.header.complete,
        "best": _best(process),
        "from_snapshot": header.parent if process.parent is not None else None,
        "from_process": process.parent.first.header.run_id if process.parent is not None else None,
        "branch": process.branches,
        "overrides": header.overrides,
    }
