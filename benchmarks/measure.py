"""What the benchmarks share: timing in turns, and tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def seconds(action: Callable[[], object]) -> float:
    """Returns how long the action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turns(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Runs each action once per round, one after the other; returns the median seconds of each after a round of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            spent = seconds(action)
            if number:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a Markdown table."""
    print(f"\n### {title}\n")
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def verdict(figure: float, target: float, at_least: bool = False) -> str:
    """Returns a ratio with its target and whether it is met."""
    met = figure >= target if at_least else figure <= target
    return f"{figure:.2f} ({'at least' if at_least else 'at most'} {target:g}: {'met' if met else 'NOT met'})"
