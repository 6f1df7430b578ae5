"""The workflow's graph as text for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.graph.workflow import Workflow


def dot(workflow: Workflow) -> str:
    """Returns the graph in the DOT language: control links solid, attribute links dashed from where the values are made."""
    return "\n".join([f"digraph {_quoted(workflow.name)} {{", "  node [shape=box];", *_statements(workflow), "}"]) + "\n"


def _statements(workflow: Workflow) -> Iterator[str]:
    number = {unit: f"u{position}" for position, unit in enumerate(workflow.units)}
    for unit, node in number.items():
        label = unit.name if unit.name == type(unit).__name__ else f"{unit.name}\n{type(unit).__name__}"
        yield f"  {node} [label={_quoted(label)}];"
    for unit, node in number.items():
        yield from (f"  {node} -> {number[target]};" for target in unit.successors if target in number)
    for unit, node in number.items():
        links = [(link, name) for name, link in unit.links().items() if link.source in number]
        for link, name in links:
            label = name if name == link.attribute else f"{link.attribute}\n{name}"
            ends = "both" if link.two_way else "forward"
            yield f"  {number[link.source]} -> {node} [style=dashed, constraint=false, dir={ends}, label={_quoted(label)}];"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
