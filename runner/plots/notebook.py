"""What a notebook shows while a run goes on: how far it has come, and the curves of what was measured."""

from __future__ import annotations

import html
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from runner.graph import Workflow
from runner.metrics import Row, history_of
from runner.text import shown

REFRESHED = 0.5
"""Seconds between two looks at the run."""
WIDTH, HEIGHT = 480, 160
"""Size of the curves, in pixels."""
MEASURED = ("error", "loss")
"""What is drawn of a row: the first of these that it has."""
STROKES = {"validation": "", "train": "4 3", "test": "1 3"}
"""The dashes of the curve of a split."""


def _is_here() -> bool:
    """Whether this code runs in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def followed(workflow: Workflow) -> Iterator[None]:
    """Shows the run of a workflow below its cell while the block runs, and leaves what it has come to; elsewhere, nothing."""
    if not _is_here():
        yield
        return
    from IPython.display import display

    place: Any = display(_page(workflow), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(REFRESHED):
            with suppress(Exception):  # the run may be at any point of a unit
                place.update(_page(workflow), raw=True)

    looking = threading.Thread(target=look, name="notebook", daemon=True)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
        with suppress(Exception):
            place.update(_page(workflow), raw=True)


def _page(workflow: Workflow) -> dict[str, str]:
    """Returns what is shown, by its type."""
    page = f"<div>{_bar(workflow)}{_curves(history_of(workflow))}</div>"
    return {"text/html": page, "text/plain": shown(workflow.summary or workflow.name)}


def _bar(workflow: Workflow) -> str:
    """Returns how far the run has come; of one that has stopped, what it says of itself."""
    step, outlook = workflow.current_step, workflow.outlook
    if step is None or outlook is None:
        return f"<div>{html.escape(shown(workflow.summary or workflow.name))}</div>"
    title, done, total = step
    told = ", ".join([title, *(f"{name} {text}" for name, text in outlook.readings.items())])
    return f'<div><progress value="{done}" max="{total}"></progress> {html.escape(shown(told))}</div>'


def _curves(rows: Sequence[Row]) -> str:
    """Returns the curves of the splits as SVG; nothing before there are two epochs."""
    name = next((name for name in MEASURED if any(_is_number(row.get(name)) for row in rows)), "")
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if _is_number(row.get(name)):
            points.setdefault(row["split"], []).append((row["epoch"], row[name]))
    epochs = [epoch for part in points.values() for epoch, _ in part]
    values = [value for part in points.values() for _, value in part]
    if len(set(epochs)) < 2:
        return ""
    left, right, low, high = min(epochs), max(epochs), min(values), max(values)

    def place(epoch: float, value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{WIDTH * (epoch - left) / (right - left):.1f},{HEIGHT * (1 - share):.1f}"

    lines = "".join(
        f'<polyline fill="none" stroke="currentColor" stroke-dasharray="{STROKES.get(split, "2 2")}"'
        f' points="{" ".join(place(*point) for point in _thinned(part))}"><title>{html.escape(shown(split))}</title></polyline>'
        for split, part in points.items()
    )
    told = f"{name} from {low:.4g} to {high:.4g}, epochs {left} to {right}; {', '.join(map(_key, points))}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="-2 -2 {WIDTH + 4} {HEIGHT + 4}">{lines}</svg>'
        f"<div>{html.escape(shown(told))}</div>"
    )


def _thinned(part: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Returns as many points as can be told apart, the last one among them."""
    return part[:: -max(1, len(part) // WIDTH)]


def _key(split: str) -> str:
    return f"{split} {'dashed' if STROKES.get(split, '2 2') else 'solid'}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
