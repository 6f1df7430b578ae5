"""What a run begins with: its network, its data, and where it goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from runner.cli.console import DETAIL, console, is_live
from runner.graph import Workflow
from runner.nn import StandardWorkflow, facts
from runner.text import shown

log = logging.getLogger(__name__)

MOST = 24
"""The most layers that are listed: of more, the first and the last ones."""
NARROW = 60
"""Columns below which the types of layers stand in the log alone."""


def tell(workflow: Workflow, where: Mapping[str, str]) -> None:
    """Says what runs: on a terminal as a block, else in lines.

    Args:
        workflow: which is initialized.
        where: what else there is to say, by titles: `seed`, `device`, and such as the folders.
    """
    log.info("%s %s: seed %s, %s", workflow.activity, workflow.name, where["seed"], where["device"], extra=DETAIL)
    if isinstance(workflow, StandardWorkflow):
        for line in _lines(workflow):
            log.info("%s", line, extra=DETAIL)
    if is_live():
        _show(workflow, where)


def _lines(workflow: StandardWorkflow) -> list[str]:
    found = facts.layers(workflow)
    listed = ", ".join(f"{layer.name} {layer.type} {facts.shape(layer.shape)}" for layer in found)
    total = sum(layer.parameters for layer in found)
    return [f"Data: {', '.join(facts.data(workflow))}", f"Model: {listed}; {total:,} parameters"]


def _show(workflow: Workflow, where: Mapping[str, str]) -> None:
    console.print(Text(f"{workflow.activity} {shown(workflow.name)}", "bold"))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    if isinstance(workflow, StandardWorkflow):
        rows.add_row("data", Text(", ".join(map(shown, facts.data(workflow)))))
        rows.add_row("model", _layers(workflow))
    for title, text in where.items():
        rows.add_row(title, Text(shown(text), overflow="fold"))
    console.print(rows, soft_wrap=False)
    console.print()


def _layers(workflow: StandardWorkflow) -> Table:
    found = facts.layers(workflow)
    wide = console.width >= NARROW
    table = Table.grid(padding=(0, 2))
    for right in (False, *([False] if wide else []), True, True):
        table.add_column(justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    table.add_row(*(Text(title, "dim") for title in ("layer", *(["type"] if wide else []), "output", "parameters")))
    listed = found if len(found) <= MOST else [*found[: MOST // 2], None, *found[-MOST // 2 :]]
    for layer in listed:
        if layer is None:
            table.add_row(Text(f"... {len(found) - MOST} more", "dim"))
            continue
        count = f"{layer.parameters:,}" if layer.parameters else ""
        middle = [Text(layer.type)] if wide else []
        table.add_row(Text(shown(layer.name)), *middle, facts.shape(layer.shape), count)
    total = sum(layer.parameters for layer in found)
    table.add_row("", *([""] if wide else []), "", Text(f"{total:,}", "bold"))
    return table
