"""The memory of this process: how much it may have, buffers, and that it keeps what is used again soon."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where the limits of a container are, in the second and the first version of control groups."""

_LARGEST = 31 << 20
"""Bytes of the largest block by whose size glibc is guided."""


def memory() -> int:
    """Returns the memory that this process may have, in bytes."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CONTAINER:
        text = Path(path).read_text().strip() if Path(path).is_file() else ""
        if text.isdigit():
            size = min(size, int(text))
    return size


def available() -> int:
    """Returns the memory that this process could still take, in bytes."""
    free = memory()
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError):
        limit = Path(CONTAINER[0]).read_text().strip()
        if limit.isdigit():
            free = min(free, int(limit) - int(Path(CONTAINER[0]).with_name("memory.current").read_text()))
    return max(free, 0)


def resident() -> int:
    """Returns the memory that this process has, in bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def large_buffer(size: int) -> memoryview:
    """Returns memory of some megabytes, in large pages where the system has them.

    It is ready in half the time then, since it has fewer pages, and is read in two thirds: processors fetch ahead in a page.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel that was built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def keep_freed() -> None:
    """Makes glibc keep what is freed, up to twice the largest block ever freed, instead of giving it back at once.

    Snapshots need the same buffers of some megabytes again and again. The system would have to make their pages anew each time,
    which takes longer than a fast codec does, and a third of the time for 1 MB into SQLite.
    """
    bytes(_LARGEST)  # which touches none of it
