"""The snapshotter: the unit that decides when a snapshot is taken."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runner.errors import ConfigError, SnapshotError, StoreError, StoreSpooledError
from runner.graph import Bool, Linked, Unit, Workflow, placement
from runner.snapshots import announcements, provenance
from runner.snapshots.capture.taking import Written
from runner.snapshots.codecs import Codec
from runner.snapshots.exporter import Exporter, Order
from runner.snapshots.format.header import Header, utc_now
from runner.snapshots.format.signing_keys import Key, read_key
from runner.snapshots.pace import Pace
from runner.snapshots.retention import Retention
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.stores import spool as spools
from runner.snapshots.stores.location import option_for
from runner.snapshots.stores.store import Entry, Store

log = logging.getLogger(__name__)

AUTOSAVE = "autosave"
"""The end of the name of an autosave. While it is replaced there are two of them, and the other has a number."""
LARGE = 200_000_000
"""Bytes of state above which a warning is logged."""


class Snapshotter(Unit):
    """Takes snapshots of its workflow into a store; in a nested one, of the outermost workflow around it.

    It is part of the iteration and checks, each time it runs, whether a snapshot is due. A snapshot postponed by `interval` or
    `time_interval` is taken once they allow it. A snapshot of the final state, and of the state at a requested stop, is always
    taken. The state is captured at once and written in the background; the end of the run waits for the last snapshot.

    When the run has gone on for too long without one (`at_most_lost`), it takes an autosave: a snapshot that the next one
    replaces, and that changes nothing about when the others are taken.

    The store and the signing key are not part of the state: a snapshot must not decide where the run that restores it writes,
    or what it signs with. A restored snapshotter gets its store back only if that is where the snapshot lies, or is below the
    current folder. Otherwise give it one with `configure(store=...)` before `initialize()`.

    Linked attributes:
        suffix: the end of the snapshot's name, such as `validation_1.48_train_0.05`.
        due: true when a snapshot may be taken, such as after an epoch.
        skip: true when this state is not worth a snapshot, such as when nothing has improved.
        complete: true in the last iteration.

    Attributes:
        place: where snapshots went: for messages, and for the restore, which decides whether they may go there again.
        mode: permissions of the files; the umask's if None. A restore never makes them wider than the umask allows.
        signed: whether the snapshots were signed.
        passive_: whether another process of the run takes the snapshots; this one only stops when that one does.
        completed_: whether the run was said to be complete before, and went on, as by a mistake of a unit: a stop ends it.
        origin_: the snapshot that this process went on from.

    Args:
        store: where the snapshots go.
        key: the signing key: the path of a file, or `env:NAME`. Default: snapshots are not signed.
        settings: as in `SnapshotterSettings`.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    view_group = "service"

    suffix: Linked[str] = ""
    due: Linked[Bool | bool] = True
    skip: Linked[Bool | bool] = False
    complete: Linked[Bool | bool] = False
    settings: SnapshotterSettings
    place: str
    mode: int | None = None
    signed: bool
    log_id: str | None
    last_uuid: str | None
    last_time: str | None
    exported_time: str | None = None
    last_location: str | None
    runs: list[str]
    put_off: bool
    due_states: int
    warned_of_size: bool
    exported_at_: float
    ended_at_: float
    run_id_: str
    exporter_: Exporter
    failed_: bool
    store_: Store | None
    retention_: Retention | None
    key_: Key | None
    passive_: bool
    completed_: bool
    origin_: str | None

    def __init__(
        self, workflow: Workflow, name: str | None = None, *, store: Store, key: str | None = None, **settings: Any
    ) -> None:
        super().__init__(workflow, name)
        self.settings = SnapshotterSettings()
        self.place = ""
        self.signed = False
        self.log_id = None
        self.last_uuid = None
        self.last_time = None
        self.last_location = None
        self.runs = []
        self.put_off = False
        self.due_states = 0
        self.warned_of_size = False
        self.configure(store=store, key=key, **settings)

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.exported_at_ = float("-inf")
        self.ended_at_ = time.monotonic()
        self.run_id_ = str(uuid.uuid4())
        self.exporter_ = Exporter()
        self.failed_ = False
        self.store_ = None
        self.retention_ = None
        self.key_ = None
        self.passive_ = False
        self.completed_ = False
        self.origin_ = None

    def configure(self, *, store: Store | None = None, key: str | None = None, **settings: Any) -> None:
        """Changes settings, or the store together with its signing key. Settings that are not given stay as they are.

        Raises:
            ConfigError: a setting or the key is wrong.
        """
        self.settings = dataclasses.replace(self.settings, **settings)
        self.retention_ = None
        if store is not None:
            self.store_, self.place, self.mode = store, store.place, store.mode
            self.key_ = None if key is None else read_key(key, signing=True)
            self.signed = self.key_ is not None

    @property
    def store(self) -> Store:
        """Where the snapshots go.

        Raises:
            ConfigError: the snapshotter was restored, and nobody has confirmed where its snapshots may go.
        """
        if self.store_ is None:
            raise ConfigError(
                f"the snapshots of {self.name!r} went to {self.place!r}, which only the snapshot names: say where they go with"
                f" {option_for(self.place)} (in Python: snapshotter.configure(store=...))"
            )
        return self.store_

    @property
    def _whole(self) -> Workflow:
        """What a snapshot is taken of: nobody could go on with a nested workflow alone."""
        assert self.workflow is not None
        return self.workflow.outermost

    def initialize(self) -> None:
        placement.check(self)
        self.exporter_.pace = Pace()  # nothing can be lost before the run begins

    def prepare(self) -> None:
        """Prepares the store for a run, and delivers the snapshots that wait in its spool.

        Raises:
            ConfigError: a restored snapshotter has no store, or no key although its snapshots were signed.
            StoreError: the store cannot be used.
        """
        if self.passive_:
            return
        if self.signed and self.key_ is None:
            raise ConfigError(
                f"the snapshots of {self.name!r} were signed, and no snapshot contains the key: give it again with"
                " snapshotter.key=FILE, or set snapshotter.key=null (in Python: snapshotter.configure(store=..., key=...))"
            )
        self.store.prepare()
        self._deliver()

    def _deliver(self) -> Mapping[str, str]:
        """Delivers the snapshots that wait in the spool; returns their new locations by UUID."""
        return spools.deliver(self.store)

    def run(self) -> None:
        assert self.workflow is not None
        launcher = self.workflow.launcher
        stopping = launcher is not None and launcher.stop_requested
        if not self.passive_:
            self._take_if_due(stopping)
        if stopping and (not self.complete or self.completed_):
            launcher.stop()
        self.completed_ = bool(self.complete)

    def _take_if_due(self, stopping: bool) -> None:
        # Now, and not when somebody waits for a snapshot: git may be asked.
        self.exporter_.code.collect(self._whole, self.settings.keep_code)
        launcher = self._whole.launcher
        if stopping and not self.complete:
            log.info("%s: taking a snapshot and stopping", launcher.stop_reason)
        asked = launcher is not None and launcher.snapshot_signal is not None
        if self.due:
            self.due_states += 1
            self.put_off = self.put_off or not self.skip
        if asked:
            log.info("%s: taking a snapshot", launcher.snapshot_signal.name)
            launcher.snapshot_signal = None
        if stopping or asked or self.complete or (self.due and self.put_off and self._allowed()):
            self.export()
        elif self._autosave_is_due():
            self._autosave()
        else:
            self.exporter_.prepare(self._whole, self.settings)

    def finish(self) -> None:
        """Waits until the last snapshot is written, and delivers the snapshots that wait in the spool."""
        if self.passive_:
            return
        self.ended_at_ = time.monotonic()
        self._wait()
        delivered, written = self._deliver(), self.exporter_.written
        if written is not None:
            self.last_location = delivered.get(written.uuid, self.last_location)
        if delivered and self.retention_ is not None:
            _tell_deleted(self.retention_.tidy)
        if waiting := spools.waiting(self.store):
            self.failed_ = True
            log.error(
                "Not delivered yet (%s): %s. A run can be resumed from there (snapshot=FILE); the next one delivers them.",
                self.store,
                ", ".join(waiting),
            )

    @property
    def finishing(self) -> tuple[int, int] | None:
        """While a snapshot is being written: the bytes of its state written so far, and in all. None otherwise."""
        written = self.exporter_.written
        return (written.progress, written.state) if written is not None and self.exporter_.busy else None

    @property
    def unrestorable(self) -> bool:
        """Whether the default restore would refuse the snapshots that this process has written."""
        return self.exporter_.unrestorable

    @property
    def lost(self) -> float:
        """How many seconds before the end of the last run the newest durable snapshot was taken."""
        return self.exporter_.pace.at_risk(self.ended_at_)

    def _allowed(self) -> bool:
        return self.due_states >= self.settings.interval and self._since_export() >= self.settings.time_interval

    def _since_export(self) -> float:
        """Returns the seconds since a snapshot that was no autosave was taken, by this process or the run's earlier ones."""
        if self.exported_at_ != float("-inf") or self.exported_time is None:
            return time.monotonic() - self.exported_at_
        with suppress(ValueError, TypeError):  # a snapshot may say anything
            elapsed = (datetime.now(UTC) - datetime.fromisoformat(self.exported_time)).total_seconds()
            return elapsed if elapsed >= 0 else float("inf")  # the clock was set back
        return float("inf")

    def export(self) -> None:
        """Takes a snapshot now. It is durable after `finish()`, or on return if `blocking` is set."""
        self._wait()
        before = self.put_off, self.due_states, self.exported_time
        # Set before the capture: the restored run must find these values.
        self.put_off, self.due_states, self.exported_time = False, 0, utc_now()
        try:
            self._take()
        except BaseException:
            self.put_off, self.due_states, self.exported_time = before
            raise
        self.exported_at_ = time.monotonic()

    def _autosave_is_due(self) -> bool:
        if self.settings.grace is not None and self.exporter_.written is None:
            return True  # it shows how long a snapshot takes, before that matters
        return self.exporter_.pace.is_due(self.settings) and not self.exporter_.busy

    def _autosave(self) -> None:
        """Takes a snapshot that the next one replaces, and says once if it cannot be taken as often as it should."""
        if shortfall := self.exporter_.pace.shortfall(self.settings):
            log.warning("%s", shortfall)
        self._take(autosave=True)

    def _take(self, autosave: bool = False) -> None:
        """Captures a snapshot, which is then written in the background; `autosave` says whether the next one replaces it."""
        self._wait()
        self._whole.check_state()
        began, exporter, settings = time.monotonic(), self.exporter_, self.settings
        if self.retention_ is None:
            rules = {"keep_best": settings.keep_best, "keep_last": settings.keep_last}
            self.retention_ = Retention(self.store, self.runs, **rules)  # a new run has no earlier ones
        before = self.last_uuid, self.last_time
        heading, done = partial(self._heading, autosave), partial(self._on_written, self.retention_)
        try:
            written = exporter.take(Order(self._whole, settings, self.store, self.key_, autosave, heading, done))
        except BaseException:
            self.last_uuid, self.last_time = before
            raise
        try:
            if settings.blocking:
                self._wait()
        finally:
            exporter.pace.add(written, began)
        self._warn_of_size(written.state)

    def _wait(self) -> None:
        exporter = self.exporter_
        try:
            exporter.wait()
        except SnapshotError as error:
            self.failed_ = True
            if isinstance(error, StoreSpooledError) and exporter.written is not None:
                self.last_location = exporter.written.location = error.location
            # An autosave is there for the case that something goes wrong, and must not be what ends the run.
            if self.settings.on_error != "warn" and not (exporter.autosaving and isinstance(error, StoreError)):
                raise
            log.error("No snapshot: %s; the run goes on", error)

    def _on_written(self, retention: Retention, header: Header, written: Written) -> None:
        """Runs in the background when a snapshot is durable."""
        self.last_location = written.location
        self.failed_ = False
        announcements.acknowledge(written, header)
        _tell_deleted(partial(retention.add, Entry(written.location, header)))

    def restored_from(self, location: str, store: Store | None) -> None:
        """Notes which snapshot this state comes from, and the store, if the run may go on writing to it.

        The restored state itself only knows the snapshot before that, and its location at that time.
        """
        self.last_location = self.origin_ = location
        self.store_ = store

    def branch(self) -> None:
        """Starts a new branch: the snapshots so far are never deleted, since other runs may continue from them, too."""
        self.runs = []
        self.retention_ = None

    def _warn_of_size(self, size: int) -> None:
        if size > LARGE and not self.warned_of_size:
            self.warned_of_size = True
            announcements.warn_of_size(self._whole, size)

    def _heading(self, autosave: bool, codec: Codec, level: int) -> Header:
        """Returns the header of the next snapshot, which is the last one from now on: the restored run must find that."""
        workflow, exporter = self._whole, self.exporter_
        launcher = workflow.launcher
        run_id = launcher.run_id if launcher else self.run_id_
        self.log_id = self.log_id or run_id
        if run_id not in self.runs:
            self.runs.append(run_id)
        prefix = self.settings.prefix or workflow.name
        suffix = AUTOSAVE if autosave else self.suffix
        cls = type(workflow)
        header = Header(
            name=f"{prefix}_{suffix}" if suffix else prefix,
            prefix=prefix,
            autosave=autosave,
            workflow=workflow.name,
            workflow_class=f"{cls.__module__}:{cls.__qualname__}",
            run_id=run_id,
            log_id=self.log_id,
            codec=codec.name,
            level=level,
            parent=self.last_uuid,
            previous=exporter.written.figures() if exporter.written else None,
            time=utc_now(after=self.last_time),
            versions=provenance.versions(),
            code=exporter.code.digests(workflow),
            kept_code=exporter.code.kept,
            **workflow.progress(),
            **(launcher.provenance() if launcher else {}),
        )
        self.last_uuid, self.last_time = header.uuid, header.time
        return header


def snapshotters(workflow: Workflow) -> list[Snapshotter]:
    """Returns the snapshotters of a workflow and of its nested workflows."""
    found: list[Snapshotter] = []
    for unit in workflow.units:
        if isinstance(unit, Snapshotter):
            found.append(unit)
        elif isinstance(unit, Workflow):
            found.extend(snapshotters(unit))
    return found


def last_written(workflow: Workflow) -> Snapshotter | None:
    """Returns the snapshotter whose last snapshot is the newest of a workflow's and its nested workflows'; None without any."""
    written = [unit for unit in snapshotters(workflow) if unit.last_location is not None]
    return max(written, key=lambda unit: unit.last_time or "", default=None)


def _tell_deleted(delete: Callable[[], Sequence[str]]) -> None:
    try:
        old = delete()
    except SnapshotError as error:  # the new snapshot is durable all the same
        log.warning("Old snapshots not deleted: %s", error)
        return
    for location in old:
        log.info("Snapshot deleted: %s", location, extra={"detail": True})
