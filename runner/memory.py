"""This process's memory: its limits, large buffers, and how freed memory is kept for reuse."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The files with a container's memory limit: cgroup v2, then cgroup v1."""

_LARGEST = 31 << 20
"""Bytes of a block just below the largest one (32 MiB) that raises glibc's thresholds."""
_POPULATE_WRITE = 23
"""Advice to Linux (from 5.14 on) to provide the pages of memory that is about to be written to."""
_MANY_PAGES = 1 << 16
"""Bytes from which on it pays to ask for pages."""


def memory() -> int:
    """Returns how much memory this process may use, in bytes."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CONTAINER:
        text = Path(path).read_text().strip() if Path(path).is_file() else ""
        if text.isdigit():
            size = min(size, int(text))
    return size


def available() -> int:
    """Returns how much more memory this process could allocate, in bytes."""
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
    """Returns this process's resident memory in bytes; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pauses the cyclic garbage collector while many long-lived objects are created: it would take a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def large_buffer(size: int) -> memoryview:
    """Returns a buffer of some megabytes, in huge pages if the system has them.

    With fewer pages to fault in, it is ready in half the time. Reading it takes two thirds of the time, because processors
    prefetch only within a page.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel built without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def copy_to_new(target: memoryview, content: memoryview) -> None:
    """Copies into memory that may never have been written to; other threads run meanwhile.

    The kernel provides the pages all at once, which takes half the time of providing one whenever it is first met.

    Args:
        target: contiguous bytes.
        content: as many bytes.
    """
    if len(content) < _MANY_PAGES:
        target[:] = content
        return
    import numpy as np  # which most readers of headers never need

    array = np.frombuffer(target, np.uint8)
    if (madvise := _madvise()) is not None:
        begin, page = array.ctypes.data, mmap.PAGESIZE
        first, last = -(-begin // page) * page, (begin + len(content)) // page * page
        madvise(first, last - first, _POPULATE_WRITE)  # an older kernel refuses, and provides them one by one
    np.copyto(array, np.frombuffer(content, np.uint8))


@cache
def _madvise() -> Any:
    """Returns the system's function; None if this is not Linux. Python's own takes nothing but memory of `mmap`."""
    if sys.platform != "linux":
        return None
    import ctypes

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return madvise


def keep_freed() -> None:
    """Makes glibc keep freed memory, up to twice the largest block ever freed, instead of returning it at once.

    Snapshots need the same buffers of some megabytes again and again. Otherwise the kernel would have to provide new pages each
    time, which takes longer than a fast codec, and is a third of the time for writing 1 MB to SQLite.
    """
    bytes(_LARGEST)  # allocated and freed without touching its pages
