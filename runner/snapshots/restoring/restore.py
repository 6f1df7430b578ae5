"""Restores a workflow from a snapshot, and finds the newest snapshot of a workflow."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import (
    RunnerError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotNotFoundError,
    SnapshotRefusedError,
)
from runner.graph import Workflow
from runner.metrics import Records, Rows, history_of, records_of
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.header import Header
from runner.snapshots.format.reader import read_header, read_verified
from runner.snapshots.kept_code import KeptCode
from runner.snapshots.restoring import kept_modules
from runner.snapshots.restoring.grants import granted
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.settings import Trust
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores import newest_first, store_of
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.location import concealed
from runner.snapshots.stores.store import Store
from runner.snapshots.unpickling.soundness import all_units

if TYPE_CHECKING:
    from runner.nn.inference.model import Network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """A workflow that was restored, where from, what its header said, and the store that it was in."""

    workflow: Workflow
    location: str
    header: Header
    store: Store

    def __repr__(self) -> str:
        header = self.header
        score = "" if header.score is None else f", error {header.score:g}"
        return f"Restored({self.location!r}: {self.workflow!r}, epoch {header.epoch}{score})"

    @property
    def history(self) -> Rows:
        """What was measured before the snapshot: a row for each epoch and split, as in `metrics.jsonl`."""
        return history_of(self.workflow)

    def model(self) -> Network:
        """Returns the trained network as a `torch.nn.Module`, which takes raw samples: normalization is inside.

        It gives probabilities of classes, or values; `signature` has names and shapes. No data are loaded, and nothing else of
        the workflow is needed.

        Raises:
            ConfigError: the workflow is no network, or a layer of it cannot be a module.
            SnapshotMismatchError: its state does not fit together.
        """
        network: Network = type(self.workflow).as_model(self.workflow)
        return network


def restore(
    location: str | Path,
    *,
    trust: Trust | str = Trust.restricted,
    trusted: Sequence[str] = (),
    key: str | None = None,
    renamed: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
) -> Restored:
    """Restores a workflow from a snapshot. `initialize()` and `run()` continue it.

    Nothing of the snapshot is used before the whole of it is verified.

    Args:
        location: the file, or `odbc://...` as in `Location`.
        trust: how far it is trusted: `restricted`, `signed` or `full`, as in `Policy`.
        trusted: for `restricted`, modules whose classes it may hold, and full names of functions that it may have called.
        key: for `signed`, where the key is: the path of a file, or `env:NAME`.
        renamed: what classes of yours are called today, by the full names that the snapshot has.
        max_bytes: bytes that it may decode to, and its objects take. Default: what is free, and an honest one may need.

    Raises:
        ConfigError: the policy is wrong.
        SnapshotRefusedError: it holds what the policy does not allow, or is not signed as the policy asks.
        SnapshotNotFoundError: there is no such snapshot.
        SnapshotDamagedError: it is empty, truncated, altered, or no snapshot.
        SnapshotMismatchError: it is of a newer format, or needs a class that is not here.
    """
    return restore_with(location, Policy(trust, trusted, key, renamed or {}, max_bytes))


def restore_with(location: str | Path, policy: Policy) -> Restored:
    """Restores as `restore` does."""
    store, location = located(str(location))
    restored = _restore(store, location, policy)
    for snapshotter in snapshotters(restored.workflow):
        type(snapshotter).branch(snapshotter)
    return restored


def header_of(location: str | Path) -> Header:
    """Returns the header of a snapshot; it raises as `restore` does."""
    store, location = located(str(location))
    with _Located(location):
        return read_header(store.open(location))


def located(location: str) -> tuple[Store, str]:
    """Returns the store that a snapshot is in, and its full location there."""
    with _Located(location := concealed(location)):
        return store_of(location)


def restore_latest(
    stores: Iterable[Store],
    wanted: Callable[[Header], bool],
    policy: Policy,
    workflow: str | None = None,
    apart_from: Collection[str] = (),
) -> Restored | None:
    """Restores the newest good snapshot that is wanted; warns of those that it has to skip.

    Args:
        stores: where it is looked for.
        wanted: whether a snapshot is wanted, by its header.
        policy: what is trusted.
        workflow: the name of its workflow, by which stores look. Default: any.
        apart_from: processes that have not written it, as for `Store.list`.
    """
    passed_over = None
    for entry, store in newest_first(stores, tell_unreadable, workflow=workflow, apart_from=apart_from):
        if not wanted(entry.header):
            continue
        if passed_over is not None:
            log.warning("%s; taking the one before", passed_over)
        try:
            return _restore(store, entry.location, policy, listed=True)
        except (SnapshotDamagedError, SnapshotNotFoundError) as error:  # not found: it has just been deleted
            passed_over = str(error)  # the error holds what was open
    if passed_over is not None:
        log.warning("%s; there is none before", passed_over)
    return None


def tell_unreadable(location: str, error: SnapshotError) -> None:
    """Warns that a snapshot is passed over."""
    log.warning("snapshot %r cannot be used: %s; passing it over", location, str(error))


def folder_stores(roots: Iterable[Path]) -> Iterator[FileStore]:
    """Yields a store for each folder at or below the given ones that has snapshots."""
    folders = {path.parent for root in roots for path in root.rglob("*.pickle*")}
    for folder in sorted(folders):
        yield FileStore(folder)


def _restore(store: Store, location: str, policy: Policy, listed: bool = False) -> Restored:
    """Restores a snapshot; of one that was listed the store has said that it is of this format."""
    with _Located(location):
        try:
            budget = Budget(policy.max_bytes)
            header, file = read_verified(store.open(location), policy.secret, budget)
        except SnapshotMismatchError as error:
            if listed:
                raise SnapshotDamagedError(f"its header is not the one that is listed: {error}") from error
            raise
        if policy.kept_code:
            kept_modules.install(_kept_code(header, store))
        workflow = policy.load(file, budget)
        if not isinstance(workflow, Workflow):
            raise SnapshotDamagedError(f"it holds {type(workflow).__name__}, not a workflow")
        for records in records_of(workflow):
            Records.check_restored(records)
        _provide(workflow, policy)
        for snapshotter in snapshotters(workflow):
            type(snapshotter).restored_from(snapshotter, location, granted(snapshotter.place, snapshotter.mode, store))
        return Restored(workflow, location, header, store)


def _kept_code(header: Header, store: Store) -> KeptCode:
    """Returns the code that is to run. Without it the snapshot is refused, and no older one takes its place."""
    try:
        return KeptCode.of(header, store)
    except (SnapshotNotFoundError, SnapshotDamagedError) as error:
        raise SnapshotRefusedError(f"restore.code=snapshot: {error}") from error


def _provide(workflow: Workflow, policy: Policy) -> None:
    for unit in all_units(workflow):
        for name in type(unit).missing_classes(unit):
            if (cls := policy.class_named(name)) is not None:
                type(unit).provide(unit, name, cls)
        for name in type(unit).missing_functions(unit):
            if (function := policy.function_named(name)) is not None:
                type(unit).provide_function(unit, name, function)


class _Located:
    """Says in errors which snapshot they are about."""

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, cls: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SnapshotNotFoundError):
            return
        if isinstance(error, SnapshotDamagedError | SnapshotMismatchError | SnapshotRefusedError):
            raise type(error)(f"snapshot {self.location!r} cannot be used: {error}") from error
        if isinstance(error, RunnerError):
            return
        if isinstance(error, ImportError | AttributeError):
            raise SnapshotMismatchError(
                f"snapshot {self.location!r} needs code that is not here ({error}): run where its modules can be imported"
            ) from error
        if isinstance(error, pickle.UnpicklingError | EOFError | ValueError | TypeError | KeyError | IndexError):
            raise SnapshotDamagedError(f"snapshot {self.location!r} cannot be used: its pickle is wrong ({error})") from error
