"""The order within one iteration: the graph without the links that lead back to a repeater."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import networkx

from runner.errors import CycleError
from runner.memory import without_garbage_collection

if TYPE_CHECKING:
    from runner.graph.unit import Unit


def control_graph(units: Sequence[Unit]) -> networkx.DiGraph:
    """Returns the control links between the units as a graph."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(units)
    graph.add_edges_from((unit, target) for unit in units for target in unit.successors)
    return graph


def iteration_graph(units: Sequence[Unit]) -> networkx.DiGraph:
    """Returns the control links without those that lead back to a unit that runs on any of its links.

    Raises:
        CycleError: a cycle remains; each of its units would wait for the one before it.
    """
    graph = control_graph(units)
    graph.remove_edges_from(_links_back(graph))
    if networkx.is_directed_acyclic_graph(graph):
        return graph
    cycle = networkx.find_cycle(graph)  # takes several times as long to find none
    raise CycleError(
        f"{path_text([unit for unit, _ in cycle] + [cycle[0][0]])} is a cycle in which every unit waits for the one before"
        " it: begin it with a Repeater"
    )


def _links_back(graph: networkx.DiGraph) -> list[tuple[Unit, Unit]]:
    """Returns the links to a unit that runs on any of its links, from units that run only after it has run.

    Every way from where runs begin to such a unit passes through the target: it dominates them. A link that only joins
    branches again, at a unit that runs on any of them, is none of these.
    """
    root = object()
    rooted = graph.copy()
    rooted.add_edges_from([(root, unit) for unit, degree in graph.in_degree if degree == 0])
    dominators = networkx.immediate_dominators(rooted, root)
    inside = _intervals(root, dominators)
    return [
        (unit, target)
        for target in graph
        if target.ignores_gate
        for unit in graph.predecessors(target)
        if unit not in inside or inside[target].start <= inside[unit].start < inside[target].stop  # no run reaches the former
    ]


def _intervals(root: object, dominators: dict[object, object]) -> dict[object, range]:
    """Returns for each node of the tree of dominators an interval that holds those of the nodes below it."""
    tree = networkx.DiGraph((above, node) for node, above in dominators.items() if node is not root)
    tree.add_node(root)
    begins: dict[object, int] = {}
    found: dict[object, range] = {}
    for _, node, edge in networkx.dfs_labeled_edges(tree, root):
        if edge == "forward":
            begins[node] = len(begins)
        elif edge == "reverse":
            found[node] = range(begins[node], len(begins))
    return found


@without_garbage_collection()
def in_dependency_order(units: Sequence[Unit]) -> list[Unit]:
    """Returns the units in topological order of one iteration, ties in the order of construction."""
    position = {unit: number for number, unit in enumerate(units)}
    return list(networkx.lexicographical_topological_sort(iteration_graph(units), key=position.__getitem__))


def path_text(units: Sequence[Unit]) -> str:
    """Returns a path as messages show it: `loader -> fc1 -> decision`."""
    return " -> ".join(unit.name for unit in units)
