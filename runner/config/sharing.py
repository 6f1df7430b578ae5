"""How several processes share a run."""

from __future__ import annotations

from dataclasses import dataclass

from runner.checks import within
from runner.errors import ConfigError

MOST = 1 << 16
"""More shards than any minibatch has samples would only be empty ones."""

LONGEST = 1e6
"""Seconds: eleven days."""


@dataclass(kw_only=True)
class ParallelConfig:
    """How several processes share a run, to the same bits whatever their number (docs/parallel.md)."""

    shards: int | None = None
    """Cut each minibatch into this many shards, a power of two, which 1, 2, 4, ... processes share. Default: no shards, and one
    process."""
    timeout: float = 600.0
    """Seconds after which a process that does not answer ends the run."""

    def __post_init__(self) -> None:
        check_shards(self.shards)
        within("parallel.timeout", self.timeout, 1, LONGEST)


def check_shards(shards: int | None) -> None:
    """Raises a ConfigError for a number of shards that no minibatch is cut into. None is valid."""
    if shards is not None and (not 1 <= shards <= MOST or shards & (shards - 1)):
        raise ConfigError(f"parallel.shards={shards} must be a power of two from 1 to {MOST:,}: 1, 2, 4, 8, ...")
