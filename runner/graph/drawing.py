"""The workflow's graph as a picture, drawn by Graphviz."""

from __future__ import annotations

import html
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runner.checks import known
from runner.errors import ConfigError
from runner.text import shown

if TYPE_CHECKING:
    from runner.graph.unit import Unit
    from runner.graph.workflow import Workflow

FORMATS = {".dot": None, ".gv": None, ".svg": "svg", ".png": "png", ".pdf": "pdf"}
"""Graphviz's format for each suffix of a file; None for its own language."""

COLOURS = {
    "service": "#e8e8e8",
    "loader": "#bfe9f2",
    "worker": "#d3efb5",
    "evaluator": "#e6c9ea",
    "trainer": "#f8c9b6",
    "plotter": "#fbe79a",
}
"""The color of a unit by its `view_group`; hues as in VELES."""

_HEAD = """\
  graph [rankdir=TB, ranksep=0.35, nodesep=0.45, fontname="Helvetica,Arial,sans-serif", fontsize=16, labelloc=t, dpi=110];
  node [shape=box, style="rounded,filled", color="#666666", fontname="Helvetica,Arial,sans-serif", fontsize=12,
        margin="0.16,0.07"];
  edge [fontname="Helvetica,Arial,sans-serif", fontsize=9, arrowsize=0.7];"""
_CONTROL = 'color="#333333", penwidth=1.4, weight=100'
_DATA = 'color="#4a7ab5", fontcolor="#3a6296", style=dashed, constraint=false'


def write(workflow: Workflow, path: Path) -> None:
    """Writes the drawing of the workflow into a file.

    Args:
        workflow: what is drawn.
        path: the file; its suffix says in which format.

    Raises:
        ConfigError: an unknown suffix, a folder that is not there, or Graphviz is not installed.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"graph={str(path)!r} has no suffix of a format; known: {known(FORMATS)}")
    data, name = dot(workflow).encode(), FORMATS[path.suffix]
    if name is not None:
        data = _rendered(data, name)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"graph={str(path)!r} cannot be written: {error.strerror}") from error


def _rendered(text: bytes, name: str) -> bytes:
    try:
        return subprocess.run(["dot", f"-T{name}"], input=text, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise ConfigError(
            f"graph=FILE.{name} needs Graphviz, which is not installed: apt-get install graphviz; graph=FILE.dot needs nothing"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            f"Graphviz cannot draw the graph as {name}: {error.stderr.decode(errors='replace').strip()}"
        ) from error


def dot(workflow: Workflow) -> str:
    """Returns the graph in the DOT language: control links solid, attribute links dashed from where the values are made."""
    return "\n".join([f"digraph {_quoted(shown(workflow.name))} {{", _HEAD, *_statements(workflow), "}"]) + "\n"


def _statements(workflow: Workflow) -> Iterator[str]:
    yield f"  label={_quoted(shown(workflow.name))};"
    number = {unit: f"u{position}" for position, unit in enumerate(workflow.units)}
    for unit, node in number.items():
        shape = ", shape=ellipse" if unit in (workflow.start_point, workflow.end_point) else ""
        yield f"  {node} [label=<{_label(unit)}>, fillcolor={_quoted(COLOURS.get(unit.view_group, 'white'))}{shape}];"
    for unit, node in number.items():
        yield from (f"  {node} -> {number[target]} [{_CONTROL}];" for target in unit.successors if target in number)
    for unit, node in number.items():
        for (source, two_way), names in _shared(unit).items():
            if source in number:
                ends = ", dir=both" if two_way else ""
                yield f"  {number[source]} -> {node} [{_DATA}{ends}, label={_quoted(chr(10).join(map(shown, names)))}];"


def _label(unit: Unit) -> str:
    """Returns the unit's name, and its class where the name does not say it, as Graphviz's HTML."""
    name, cls = html.escape(shown(unit.name)), shown(type(unit).__name__)
    if cls.lower() == unit.name.replace("_", "").lower():
        return f"<b>{name}</b>"
    return f'<b>{name}</b><br/><font point-size="10" color="#444444">{html.escape(cls)}</font>'


def _shared(unit: Unit) -> dict[tuple[Unit, bool], list[str]]:
    """Returns the names of the attributes that a unit shares, by whom with, and whether both may write."""
    shared: dict[tuple[Unit, bool], list[str]] = {}
    for name, link in unit.links().items():
        text = name if name == link.attribute else f"{link.attribute} as {name}"
        shared.setdefault((link.source, link.two_way), []).append(text)
    return shared


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
