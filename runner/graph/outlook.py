"""What a live display shows of a run, beside its current step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outlook:
    """How far a run has come, and what is known so far.

    Attributes:
        done: steps of the whole run, such as minibatches.
        total: how many there will be at most; None if nobody knows.
        samples: samples in a step, on the average; 0 where there are none.
        readings: short texts by their names, such as `error`: `11.20 %`.
    """

    done: int
    total: int | None = None
    samples: float = 0.0
    readings: Mapping[str, str] = field(default_factory=dict)
