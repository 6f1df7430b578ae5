"""Loads the libraries of torch while Hydra composes the configuration.

To bind their symbols takes a sixth of the time that torch takes to be imported, and needs no Python, so another core can do it.
Meanwhile no other library can be loaded: it begins when those that a configuration needs are there. Whatever goes wrong, the
import of torch tells.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from runner import cores

_LIBRARIES = (("libtorch_global_deps.so", "RTLD_GLOBAL"), ("libtorch_python.so", "RTLD_LOCAL"))
"""What torch loads, in this order, and whether all that is loaded later sees its symbols."""


def load_libraries() -> None:
    """Loads them in a thread, if there is a core for it. The import of torch, or the end of the process, waits for that."""
    if "torch" in sys.modules or os.name != "posix" or cores.usable() == 1:
        return
    if (spec := find_spec("torch")) is not None and spec.origin is not None:
        Thread(target=_load, args=(Path(spec.origin).parent / "lib",), name="libraries of torch").start()


def _load(folder: Path) -> None:
    import ctypes

    dlopen = ctypes.CDLL(None).dlopen  # while it is called so, unlike within `ctypes.CDLL(name)`, other threads run
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, scope in _LIBRARIES:
        dlopen(os.fsencode(folder / name), os.RTLD_NOW | getattr(os, scope))
