"""Loads the libraries of torch while the command line and the configuration are read.

To bind their symbols takes a sixth of the time that torch takes to be imported, and needs no Python, so another core can do it.
Whatever goes wrong, the import tells.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from runner import cores
from runner.cli.first_words import COMMANDS

_LIBRARIES = (("libtorch_global_deps.so", "RTLD_GLOBAL"), ("libtorch_python.so", "RTLD_LOCAL"))
"""What torch loads, in this order, and whether all that is loaded later sees its symbols."""
_ONLY_SHOW = ("-h", "--h", "--v", "-c", "--c", "-i", "--i", "-sc", "--shell")
"""How flags begin with which nothing is run."""


def load_libraries(arguments: Sequence[str]) -> None:
    """Loads them in a thread, if this process is about to run something, and another core is free to.

    Args:
        arguments: those of the command line.
    """
    if not _runs_here(arguments) or "torch" in sys.modules or os.name != "posix" or cores.usable() == 1:
        return
    if (spec := find_spec("torch")) is not None and spec.origin is not None:
        Thread(target=_load, args=(Path(spec.origin).parent / "lib",), name="libraries of torch").start()


def _runs_here(arguments: Sequence[str]) -> bool:
    """Whether a run begins in this process, and not only something is shown, or jobs are started, perhaps elsewhere."""
    if not arguments or arguments[0] in COMMANDS or {"-m", "--multirun"}.intersection(arguments):
        return False
    return not any(argument.startswith(_ONLY_SHOW) for argument in arguments)


def _load(folder: Path) -> None:
    import ctypes

    dlopen = ctypes.CDLL(None).dlopen  # while it is called so, unlike within `ctypes.CDLL(name)`, other threads run
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, scope in _LIBRARIES:
        dlopen(os.fsencode(folder / name), os.RTLD_NOW | getattr(os, scope))
