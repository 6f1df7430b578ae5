"""The global random generators: seeding them, and their states for snapshots."""

import random
import secrets
import sys
from abc import ABCMeta
from struct import Struct
from typing import Any

_WORDS = Struct("<625I")
"""The words of Python's generator; as bytes they are pickled and restored at once, not one by one."""


def draw_seed() -> int:
    """Returns a fresh seed of 32 bits from the operating system."""
    return secrets.randbits(32)


def seed_all(seed: int) -> None:
    """Seeds Python's, numpy's and torch's global generators (of numpy and torch, where they are loaded)."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def get_states() -> dict[str, Any]:
    """Returns the states of the global generators that are loaded, by library."""
    version, words, gauss = random.getstate()
    states: dict[str, Any] = {"python": (version, _WORDS.pack(*words), gauss)}
    if numpy := sys.modules.get("numpy"):
        states["numpy"] = numpy.random.get_state()
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            states["torch.cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_states(states: dict[str, Any]) -> None:
    """Puts the global generators into the given states; a library is loaded if it has one there."""
    version, words, gauss = states["python"]
    random.setstate((version, _WORDS.unpack(words), gauss))
    if "numpy" in states:
        import numpy as np

        np.random.set_state(states["numpy"])
    if "torch" in states:
        import torch

        torch.set_rng_state(states["torch"])
        if "torch.cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["torch.cuda"][: torch.cuda.device_count()])


class Seeding(ABCMeta):
    """The class of workflows whose constructors seed the global generators: who makes one keeps the states that they had.

    The workflow keeps those with which its run begins.
    """

    def __call__(cls, *arguments: Any, **settings: Any) -> Any:
        before = get_states()
        try:
            made = super().__call__(*arguments, **settings)
            made.random_states_ = get_states()
        finally:
            set_states(before)
        return made
