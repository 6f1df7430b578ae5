"""Finds out how many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")

MOST_THREADS = max(256, os.cpu_count() or 1)
"""With many more, the numerical library cannot start them, and ends the process."""


def usable() -> int:
    """Returns how many cores this process may use, given its affinity (taskset) and its cgroups (Docker, SLURM)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(share) for share in quotas(PROC, MOUNT))]))


def for_numbers() -> int:
    """Returns how many threads the numerical library may use: one per core, but no more than OMP_NUM_THREADS."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(usable(), int(asked)) if asked.isdecimal() and int(asked) else usable()


def quotas(proc: Path, mount: Path) -> Iterator[float]:
    """Yields the limit of each of this process's cgroups (v1 or v2) that has one, as a number of processors."""
    for folder in _cgroups(proc, mount):
        with suppress(OSError, ValueError):  # ValueError: "max"
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.cfs_quota_us").read_text(), (folder / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:  # -1: no limit
                yield int(quota) / int(period)


def _cgroups(proc: Path, mount: Path) -> Iterator[Path]:
    """Yields the folders of the cgroups that limit this process's CPU time, and of their parents."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
            # In a container the path may be the host's, so check the parents up to the container's own root, too.
            group = Path(path.lstrip("/"))
            yield from dict.fromkeys(root / part for part in (group, *group.parents))
