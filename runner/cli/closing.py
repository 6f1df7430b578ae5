"""What a run ends with, on a terminal: its result, its course, and the commands that matter now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from rich.table import Table
from rich.text import Text

from runner.cli.console import console, is_live
from runner.cli.epoch_rows import Glyphs, seconds
from runner.graph import Workflow
from runner.nn import StandardWorkflow
from runner.nn.loading.samples import SPLIT_NAMES
from runner.text import shown

Commands = Callable[[], Mapping[str, str]]

LONGEST = 60
"""The most cells of a sparkline."""


def show(workflow: Workflow, took: float, places: Mapping[str, str | None], commands: Commands) -> None:
    """Shows how a run has ended, on a terminal.

    Args:
        workflow: which.
        took: seconds of this process.
        places: where things are, by their titles; None where there are none.
        commands: returns commands by their titles, which takes a while.
    """
    if not is_live():
        return
    console.print()
    if workflow.summary is not None:
        console.print(Text(shown(workflow.summary), "bold"))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    if isinstance(workflow, StandardWorkflow):
        for split, line in _courses(workflow):
            rows.add_row(split, line)
    rows.add_row("time", seconds(took))
    for title, place in places.items():
        if place is not None:
            rows.add_row(title, Text(shown(place), overflow="fold"))
    console.print(rows, soft_wrap=False)
    show_commands(commands)


def show_commands(commands: Commands) -> None:
    """Shows the commands that matter now, on a terminal."""
    for title, command in commands().items() if is_live() else ():
        # Not broken by us: what a terminal wraps is still copied as one line.
        console.print(Text.assemble((f"{title}: ", "dim"), (shown(command), "cyan")))


def _courses(workflow: StandardWorkflow) -> list[tuple[str, Text]]:
    decision, glyphs = workflow.decision, Glyphs.of(console.encoding)
    found = []
    for split in reversed(SPLIT_NAMES):
        values = [errors[split] for errors in decision.history if split in errors]
        if len(values) > 1:
            ends = f"  {decision.metric.text(values[0])} to {decision.metric.text(values[-1])}"
            room = min(max(console.width - len(ends) - 16, 8), LONGEST)
            found.append((f"{split} {decision.metric.name}", Text(sparkline(values, room, glyphs.levels) + ends)))
    return found


def sparkline(values: Sequence[float], cells: int, levels: str) -> str:
    """Returns values as a line of small bars: of more values than cells, each cell shows the mean of some."""
    count = min(len(values), cells)
    bounds = [round(len(values) * number / count) for number in range(count + 1)]
    means = [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(bounds)]
    numbers = [value for value in means if math.isfinite(value)]
    if not numbers:
        return "?" * count
    low, high = min(numbers), max(numbers)
    scale = (len(levels) - 1) / (high - low) if high > low else 0
    return "".join(levels[round((value - low) * scale)] if math.isfinite(value) else "?" for value in means)
