"""What the first process of each machine reads, and the others there take over from its memory.

The memory is a file without a name. It needs no room in a folder, and the kernel frees it with the last process that has it,
however they end: nothing can be left behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.serialization import default_restore_location

from runner.errors import ConfigError
from runner.parallel.processes import Processes

NAME = "veles-run data"
"""What the memory is called in /proc, for those who look there."""


PLAIN = (torch.Tensor, torch.Size, torch.dtype, dict, list, tuple, str, int, float, bool, type(None))
"""Types of what can be taken over. All are among what torch loads from a file that it does not trust."""


def read_by_first(processes: Processes, read: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Returns what `read` returns, which the first process of each machine calls, and the others only if they must.

    On the CPU the tensors of all are the same memory, of which a process that writes to them gets a copy.

    Args:
        processes: those that share the run. All of them call this.
        read: returns tensors and plain values by name.
        device: where this process has its tensors.

    Raises:
        ConfigError: a value is neither, or `read` has raised it.
        ProcessLostError: a process has failed, has ended, or does not answer.
    """
    first, *others = processes.neighbors()
    found: dict[str, Any] | None = None
    with ExitStack() as memory:

        def make() -> str:
            nonlocal found
            found = read()
            for name, value in found.items() if others else ():
                _check(name, value)
            place = memory.enter_context(_filled(found)) if others else ""
            if place and device.type == "cpu":  # on a GPU, it would be there twice for a moment
                found = _taken(place, device) or found
            return place

        place = processes.made_by(first, make)
        if found is None:
            found = _taken(place, device) if place else None
        if found is None:
            found = read()
        processes.gather(torch.zeros(1))  # now all have it
    return found


@contextmanager
def _filled(values: dict[str, Any]) -> Iterator[str]:
    """Puts values into memory that other processes can open during the block; yields where, or nothing if that cannot be."""
    with ExitStack() as stack:
        try:
            descriptor = os.memfd_create(NAME)
            stack.callback(os.close, descriptor)
            place = f"/proc/{os.getpid()}/fd/{descriptor}"
            torch.save(values, place)
        except (AttributeError, OSError, RuntimeError):  # no Linux, no memory, or no files as large as that
            place = ""
        yield place


def _taken(place: str, device: torch.device) -> dict[str, Any] | None:
    """Returns the values in the memory of another process; None if this one may not open it.

    A tensor that was on the CPU stays there, and one that was on a GPU comes to the device. On the CPU they are the memory
    itself; else nothing of this process may hold it, or it would not be freed.
    """

    def placed(storage: Any, location: str) -> Any:
        return storage if location == "cpu" else default_restore_location(storage, str(device))  # type: ignore[no-untyped-call]

    try:
        if not os.readlink(place).startswith(f"/memfd:{NAME}"):
            return None
        on_cpu = device.type == "cpu"
        values: dict[str, Any] = torch.load(place, map_location=placed, mmap=on_cpu, weights_only=True)
    except (OSError, RuntimeError):
        return None
    return values


def _check(name: str, value: Any) -> None:
    """Raises a ConfigError for what other processes cannot take over."""
    if isinstance(value, dict | list | tuple):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(name, part)
    if type(value) not in PLAIN:
        raise ConfigError(
            f"a loader that is read once (read_once = True) has the attribute {name}, of which something is"
            f" {type(value).__name__}: other processes take over tensors, dict, list, tuple, str, int, float, bool, None"
        )
