"""The seed that is drawn for a sweep. Resolvers reach the processes in which a launcher runs jobs, with what they hold."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from omegaconf import OmegaConf

from runner.config.sweeping import SweepSeed

BITS = 32


def drawn() -> int:
    """Returns a new seed."""
    return secrets.randbits(BITS)


def use(seed: int) -> None:
    """Makes this the seed of the sweep that is under way."""
    OmegaConf.register_new_resolver("sweep_seed", lambda: seed, replace=True)


def of_sweep() -> int:
    """Returns the seed of the sweep that is under way."""
    seed: int = OmegaConf.create({"seed": "${sweep_seed:}"}).seed
    return seed


def told(seed: int) -> str:
    """Returns what is said of a seed that was drawn."""
    return f"seed={seed} was drawn for all jobs of the sweep, so that they differ in nothing but what is swept"


def of(kind: SweepSeed, folder: str) -> int:
    """Returns the seed that a job has if none is given, the same whenever the sweep goes on.

    Args:
        kind: whether it is that of all jobs.
        folder: the job's, whose name is its number.
    """
    if kind is SweepSeed.shared:
        return of_sweep()
    digest = hashlib.sha256(f"{of_sweep()}/{Path(folder).name}".encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[: BITS // 8])
