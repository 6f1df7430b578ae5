"""A pickle as a restore has it in memory."""

from runner.snapshots.format.placing import Placed, place


def placed(pickle: bytes) -> Placed:
    """Lays out a pickle."""
    return place(iter([memoryview(pickle)]), 0)
