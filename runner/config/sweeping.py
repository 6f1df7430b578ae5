"""How a sweep goes on, and what its jobs have in common."""

from __future__ import annotations

from dataclasses import dataclass

from runner.config.choice import Choice


class Retry(Choice):
    """Which jobs of a sweep that goes on are repeated."""

    none = "none"
    failed = "failed"


class SweepSeed(Choice):
    """Whose the drawn seed is."""

    shared = "shared"
    per_job = "per_job"


@dataclass(kw_only=True)
class SweepConfig:
    """A sweep (`-m`)."""

    folder: str | None = None
    """The sweep that goes on: its folder, `latest`, or `auto` (the newest of this very sweep, or a new one). `sweep=FOLDER` is
    short for it."""
    retry: Retry = Retry.none
    """`failed`: jobs that have failed are repeated when a sweep goes on."""
    seed: SweepSeed = SweepSeed.shared
    """`shared`: one seed is drawn for all jobs; `per_job`: each job has a seed of its own, made of that one and its number."""
