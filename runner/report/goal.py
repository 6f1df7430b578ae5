"""What a sweep looks for: which number of its jobs, and whether it is to be low or high."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from runner.report.folder_files import number, read_yaml

OBJECTIVE = "objective"
"""The name, in `result.json`, of what a run makes as low as it can."""
CONFIG = "multirun.yaml"
"""What Hydra keeps of a sweep's configuration."""


@dataclass(frozen=True)
class Goal:
    """What makes one job better than another.

    Attributes:
        name: of a number in `result.json`, such as `objective` or `best.validation.loss`.
        maximized: whether it is to be high.
    """

    name: str = OBJECTIVE
    maximized: bool = False

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Returns the goal of the sweep in a folder; of a search with several, the first."""
        try:
            sweeper = read_yaml(folder / CONFIG)["hydra"]["sweeper"]
            name, way = (
                found if isinstance(found, str) else found[0] for found in map(sweeper.get, ("objectives", "direction"))
            )
            return cls(str(name), way.lower() == "maximize")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return cls()

    @property
    def title(self) -> str:
        """What its numbers are called in a table."""
        return "best error" if self == Goal() else self.name

    def value(self, result: Mapping[str, Any]) -> float | None:
        """Returns what a job has come to; None if that is no finite number."""
        return named_number(result, self.name)

    def rank(self, value: float | None) -> float:
        """Returns what is the lower, the better a value is; no value is the worst."""
        return math.inf if value is None else -value if self.maximized else value


def named_number(result: Any, name: str) -> float | None:
    """Returns what a dotted name stands for in a result; None if that is no finite number."""
    for part in name.split("."):
        result = result.get(part) if isinstance(result, Mapping) else None
    found = number(result)
    return found if found is not None and math.isfinite(found) else None
