"""What the first process of each machine reads, and the others there take over from its memory.

The memory is a file without a name. It needs no room in a folder, and the kernel frees it with the last process that has it,
however they end: nothing can be left behind.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from runner.errors import ConfigError
from runner.parallel.processes import Processes

NAME = "veles-run data"
"""What the memory is called in /proc, for those who look there."""


def read_by_first(processes: Processes, read: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Returns what `read` returns, which the first process of each machine calls, and the others only if they must.

    On the CPU the tensors of all are the same memory, of which a process that writes to them gets a copy.

    Args:
        processes: those that share the run. All of them call this.
        read: returns tensors and plain values by name: what `torch.load` takes with `weights_only=True`.
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
            place = memory.enter_context(_filled(found)) if others else ""
            if place and (mapped := _mapped(place, torch.device("cpu"))) is not None and device.type == "cpu":
                found = mapped
            return place

        place = processes.made_by(first, make)
        if found is None:
            found = _mapped(place, device) if place else None
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
        except (pickle.PicklingError, TypeError) as error:
            raise _refused(error) from error
        yield place


def _mapped(place: str, device: torch.device) -> dict[str, Any] | None:
    """Returns the values in the memory of another process; None if this one may not open it."""
    try:
        if not os.readlink(place).startswith(f"/memfd:{NAME}"):
            return None
        values: dict[str, Any] = torch.load(place, map_location=device, mmap=True, weights_only=True)
    except (OSError, RuntimeError):
        return None
    except pickle.UnpicklingError as error:
        raise _refused(error) from error
    return values


def _refused(error: Exception) -> ConfigError:
    return ConfigError(f"read_once is for tensors and plain values: {str(error).splitlines()[0]}")
