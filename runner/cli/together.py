"""What several processes that share a run have to agree on before it begins: the snapshot, the seed, the devices."""

from __future__ import annotations

import json
from collections.abc import Sequence

from omegaconf import DictConfig

from runner.cli import own_snapshot, source
from runner.cli.request import Request
from runner.errors import SnapshotMismatchError
from runner.parallel.processes import Processes
from runner.snapshots.claims import Claims
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.stores.location import SNAPSHOT_WORDS, TAG


def find_snapshot(node: DictConfig, request: Request, claims: Claims, processes: Processes) -> Restored | None:
    """Restores what `snapshot` names, which process 0 decides where the name says no place; None means a fresh start.

    Raises:
        SnapshotMismatchError: this process finds another snapshot there than process 0.
        Others: as for `source.find_snapshot`.
    """
    if processes.leads:
        return _told("snapshot", source.find_snapshot(node, request, claims), processes)
    found = json.loads(processes.share("snapshot", str))
    if found is not None and (node.snapshot in SNAPSHOT_WORDS or str(node.snapshot).startswith(TAG)):
        node.snapshot = found[0]
    return _same(found, node, request, claims, processes)


def find_own_snapshot(node: DictConfig, request: Request, claims: Claims, processes: Processes) -> Restored | None:
    """Restores the newest snapshot of this very job of a sweep, which process 0 finds; None if there is none.

    Raises:
        SnapshotMismatchError: this process finds another snapshot there than process 0.
        Others: as for `own_snapshot.find_snapshot`.
    """
    if processes.leads:
        return _told("own snapshot", own_snapshot.find_snapshot(node, request, claims), processes)
    if (found := json.loads(processes.share("own snapshot", str))) is None:
        return None
    named = node.copy()
    named.snapshot = found[0]
    return _same(found, named, request, claims, processes)


def _told(name: str, restored: Restored | None, processes: Processes) -> Restored | None:
    """Tells the others what process 0 has found."""
    processes.share(name, lambda: json.dumps(restored and [restored.location, restored.header.uuid]))
    return restored


def _same(
    found: Sequence[str] | None, node: DictConfig, request: Request, claims: Claims, processes: Processes
) -> Restored | None:
    """Restores what process 0 has found: a location, and an id that the snapshot has to have."""
    if found is None:
        return None
    restored = source.find_snapshot(node, request, claims)
    if restored is None or restored.header.uuid != found[1]:
        raise SnapshotMismatchError(
            f"process {processes.rank} finds another snapshot than process 0 at {node.snapshot!r}: all need the same files"
        )
    return restored


def seed(drawn: int, processes: Processes) -> int:
    """Returns the seed that process 0 has drawn."""
    return int(processes.share("seed", lambda: str(drawn)))


def device(asked: str, processes: Processes) -> str:
    """Returns the device of this process: of several, each has a GPU of its own."""
    return f"cuda:{processes.local_rank}" if asked in ("auto", "cuda") and processes.size > 1 and _gpus() else asked


def choose_gpu(asked: str, processes: Processes) -> None:
    """Lets what is restored come to this process's own GPU, not to that of the process which has taken the snapshot."""
    if device(asked, processes) != asked and processes.local_rank < _gpus():
        import torch

        torch.cuda.set_device(processes.local_rank)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
