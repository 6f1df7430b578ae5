"""What can be pickled, and would be another thing after a restore: refused when it is captured, before anybody relies on it."""

from __future__ import annotations

import pickle
import random
import sys
from typing import Any


def check(value: Any) -> None:
    """Checks an object that a pickler meets.

    Raises:
        PicklingError: a restored one would not be what this one is.
    """
    if (library := _global_generator(value)) is not None:
        raise pickle.PicklingError(
            f"it is the random generator of all of {library}, and a restored one would be another: make one of its own"
        )
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and type(value) is numpy.random.RandomState:
        source = type(value._bit_generator).__name__
        if source != "MT19937":
            raise pickle.PicklingError(f"numpy restores no RandomState over {source}: use numpy.random.Generator")
    if torch is not None and isinstance(value, torch.nn.Parameter) and type(value) is not torch.nn.Parameter:
        raise pickle.PicklingError(f"it is a parameter of the class {type(value).__name__}, and a restored one would be plain")


def _global_generator(value: Any) -> str | None:
    """Returns whose global generator an object is; None if it is none."""
    if value is random._inst:  # the functions of `random` are its methods
        return "Python"
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and value is numpy.random.mtrand._rand:
        return "numpy"
    return "torch" if torch is not None and value is torch.default_generator else None
