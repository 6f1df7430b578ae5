"""What a snapshot may name: exact tables for Python's, numpy's and torch's names, and classes of the run's own modules."""

from runner.snapshots.unpickling.allowed.allowed import Allowed
from runner.snapshots.unpickling.allowed.classes import snapshot_safe

__all__ = ["Allowed", "snapshot_safe"]
