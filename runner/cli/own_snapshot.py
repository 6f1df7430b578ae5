"""The snapshot that a job of a sweep has left, when the sweep goes on."""

from __future__ import annotations

from omegaconf import DictConfig

from runner.cli.newest import find_newest
from runner.cli.request import Request
from runner.cli.source import policy_of
from runner.cli.sweeping import seed
from runner.config import Mode
from runner.snapshots.claims import Claims
from runner.snapshots.restoring.restore import Restored, restore_latest
from runner.snapshots.stores.file import FileStore


def find_snapshot(node: DictConfig, request: Request, claims: Claims) -> Restored | None:
    """Restores the newest snapshot of this very job; None if it has none, or the sweep does not go on.

    In the job's folder there are no others. In a folder or a database that jobs share it is known by the run's identity, to
    which the seed belongs that all jobs of this sweep have.

    Raises:
        RunInUseError: another process goes on with the run.
    """
    if node.sweep.folder is None or not request.sweep or node.mode is not Mode.train or node.graph:
        return None
    if not node.snapshotter.directory and not node.snapshotter._get_node("odbc")._value():
        return restore_latest([FileStore(request.output_dir)], lambda header: True, policy_of(node))
    looked_for = node.copy()
    looked_for.snapshot = "auto"
    if looked_for.seed is None:
        looked_for.seed = seed.of(node.sweep.seed, request.output_dir)
    return find_newest(looked_for, request.without_snapshot(), policy_of(node), claims)
