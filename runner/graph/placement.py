"""Where a snapshotter may stand: nowhere that leaves another unit's state uncertain while it runs.

The rules are those of the VELES manual. Every cycle passes through the snapshotter, no path goes around it, nothing but
plotters runs in parallel with it, and no data of the minibatch is made before it and read after it: such data (attributes
ending in `_`) is in no snapshot, so a restored run would not have it. What a unit reads of a later one comes from the iteration
before, and so across the snapshotter too.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import networkx

from runner.errors import PlacementError
from runner.graph.links import end, end_among
from runner.graph.order import control_graph, iteration_graph, path_text
from runner.memory import without_garbage_collection

if TYPE_CHECKING:
    from runner.graph.unit import Unit
    from runner.graph.workflow import Workflow


@without_garbage_collection()
def check(snapshotter: Unit) -> None:
    """Checks the place of the snapshotter in its workflow.

    Raises:
        PlacementError: a rule is broken; the message holds the offending path.
    """
    assert snapshotter.workflow is not None
    units = snapshotter.workflow.units
    graph = iteration_graph(units)
    before = networkx.ancestors(graph, snapshotter)
    after = networkx.descendants(graph, snapshotter)
    _check_bypass(snapshotter, _without(graph, snapshotter), before, after)
    _check_cycles(snapshotter, units)
    _check_parallel(snapshotter, _without(graph, snapshotter), before | after)
    _check_data(snapshotter, units, before)
    _check_around(snapshotter, snapshotter.workflow)


def _without(graph: networkx.DiGraph, unit: Unit) -> networkx.DiGraph:
    rest = graph.copy()
    rest.remove_node(unit)
    return rest


def _check_cycles(snapshotter: Unit, units: list[Unit]) -> None:
    graph = _without(control_graph(units), snapshotter)
    if networkx.is_directed_acyclic_graph(graph):
        return
    cycle = networkx.find_cycle(graph)
    path = path_text([unit for unit, _ in cycle] + [cycle[0][0]])
    raise PlacementError(
        f"the cycle {path} goes around {snapshotter!r}, so no snapshot would be taken in it: link the snapshotter into it"
    )


def _check_bypass(snapshotter: Unit, without: networkx.DiGraph, before: set[Unit], after: set[Unit]) -> None:
    for layer in networkx.bfs_layers(without, [unit for unit in without if unit in before]):
        if reached := after.intersection(layer):
            break
    else:
        return
    first = object()
    without.add_edges_from((first, unit) for unit in before)
    path = networkx.shortest_path(without, first, min(reached, key=lambda unit: unit.name))[1:]
    raise PlacementError(
        f"the link {path_text(path)} goes around {snapshotter!r}: unlink it, so that {path[-1].name!r} runs only after"
        " the snapshotter"
    )


def _check_parallel(snapshotter: Unit, without: networkx.DiGraph, ordered: set[Unit]) -> None:
    assert snapshotter.workflow is not None
    start = snapshotter.workflow.start_point
    run = networkx.descendants(without, start)
    for unit in without:
        if unit in ordered or unit.plotter or unit not in run:
            continue
        path = networkx.shortest_path(without, start, unit)
        raise PlacementError(
            f"{unit.name!r} ({path_text(path)}) would run in parallel with {snapshotter!r}, and its state would be uncertain:"
            " link it before or after the snapshotter (only plotters may stand beside it)"
        )


def _check_data(snapshotter: Unit, units: list[Unit], before: set[Unit]) -> None:
    """Checks every link to data of the minibatch: between the snapshotter and the unit that reads it, it must be made anew."""
    assert snapshotter.workflow is not None
    control = control_graph(units)
    runs = networkx.descendants(control, snapshotter.workflow.start_point)
    again = networkx.descendants(control, snapshotter)
    run_since = _ancestors(_without(control, snapshotter).subgraph(again))  # after the snapshotter, and before a unit
    number = {unit: number for number, unit in enumerate(run_since)}
    ends: dict[tuple[Unit, str], tuple[Unit, str]] = {}
    for unit in units:
        if unit is snapshotter or unit not in runs:
            continue
        for name, link in unit.links().items():
            source, attribute = end_among(link, ends)
            if not attribute.endswith("_") or source not in runs or source is snapshotter:
                continue
            if source in before and unit not in before:
                way = [source, snapshotter, unit]
                advice = f"move {unit.name!r} before the snapshotter"
            elif unit in again and (source not in again or not run_since[unit] >> number[source] & 1):
                way = _way(control, source, snapshotter, unit)
                advice = f"link {unit.name!r} behind {source.name!r}, or name the attribute without the final '_'"
            else:
                continue
            raise PlacementError(
                f"{unit.name}.{name} reads {source.name}.{attribute}, which is made before {snapshotter!r} and is in no"
                f" snapshot ({path_text(way)}): {advice}"
            )


def _check_around(inner: Unit, workflow: Workflow) -> None:
    """Checks the data of the workflows around a nested one: its snapshots are taken while it runs, and have all of them.

    Args:
        inner: the unit of the nested workflow in which snapshots are taken: the snapshotter, or one more nested workflow.
        workflow: the nested workflow.
    """
    while (around := workflow.workflow) is not None:
        graph = iteration_graph(around.units)
        sides = networkx.ancestors(graph, workflow), networkx.descendants(graph, workflow)
        runs = networkx.descendants(control_graph(around.units), around.start_point)
        since = networkx.descendants(control_graph(workflow.units), inner)
        for unit, name, source, attribute in _data_links([*around.units, *since]):
            if (source not in runs and source.workflow is not workflow) or source.workflow is unit.workflow is workflow:
                continue  # nobody makes it anew each time, or it is within the nested workflow
            same_side = any({source, unit} <= side for side in sides)
            if same_side and source in networkx.ancestors(graph, unit):
                continue
            raise PlacementError(
                f"{unit.name}.{name} reads {source.name}.{attribute}, which is in no snapshot, and {workflow!r} may take one in"
                " between: name the attribute without the final '_'"
            )
        inner, workflow = workflow, around


def _data_links(units: Iterable[Unit]) -> Iterator[tuple[Unit, str, Unit, str]]:
    """Yields the links of units to data of the minibatch: the unit, its attribute, and what that leads to."""
    for unit in units:
        for name, link in unit.links().items():
            source, attribute = end(link)
            if attribute.endswith("_"):
                yield unit, name, source, attribute


def _ancestors(graph: networkx.DiGraph) -> dict[Unit, int]:
    """Returns the units before each of a graph without cycles: bit n stands for the unit that is the nth key."""
    found: dict[Unit, int] = {}
    bits: dict[Unit, int] = {}
    for unit in networkx.topological_sort(graph):
        found[unit] = functools.reduce(operator.or_, (found[before] | bits[before] for before in graph.predecessors(unit)), 0)
        bits[unit] = 1 << len(bits)
    return found


def _way(control: networkx.DiGraph, source: Unit, snapshotter: Unit, unit: Unit) -> list[Unit]:
    """Returns the shortest path from the source by the snapshotter to the unit."""
    first = networkx.shortest_path(control, source, snapshotter)
    second = networkx.shortest_path(control, snapshotter, unit)
    return [*first, *second[1:]]
