"""The snapshotter: the unit that decides when a snapshot is taken."""

from __future__ import annotations

import logging
import time
import uuid
from pathlib import Path

from runner.errors import ConfigError
from runner.graph import Bool, Unit, Workflow, placement
from runner.snapshots import codecs, provenance
from runner.snapshots.header import Header
from runner.snapshots.signing import read_key
from runner.snapshots.store import Store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.writer import Written, write

log = logging.getLogger(__name__)


class Snapshotter(Unit):
    """Takes snapshots of its workflow; subclasses say where they go.

    It stands in the iteration and looks, each time it runs, whether a snapshot is due. A snapshot that `interval` or
    `time_interval` put off is taken when they have passed; the final state, and the state at a stop that was asked for, is
    always taken.

    Linked attributes:
        suffix: ends the snapshot's name, such as `validation_1.48_train_0.05`.
        due: true when the state is one to keep, such as after an epoch.
        skip: true when this one is not worth a snapshot, such as without an improvement.
        complete: true when this iteration is the last.

    Args:
        workflow: the workflow.
        prefix: begins the snapshots' names; the workflow's name unless given.
        compression: the codec.
        compression_level: the codec's level; its default unless given.
        interval: at most one snapshot in so many due states.
        time_interval: at least so many seconds between two snapshots.
        key: where the key is that signs them: the path of a file, or `env:NAME`; unsigned unless given.

    Raises:
        ConfigError: an unknown codec or level, an interval below 1, a negative time interval, no such key.
    """

    suffix: str = ""
    due: Bool | bool = True
    skip: Bool | bool = False
    complete: Bool | bool = False

    def __init__(
        self,
        workflow: Workflow,
        name: str | None = None,
        *,
        prefix: str | None = None,
        compression: str | None = "gz",
        compression_level: int | None = None,
        interval: int = 1,
        time_interval: float = 0.0,
        key: str | None = None,
    ) -> None:
        super().__init__(workflow, name)
        self.log_id: str | None = None
        self.last_uuid: str | None = None
        self.last_location: str | None = None
        self.put_off = False
        self.due_states = 0
        self.configure(
            prefix=prefix,
            compression=compression,
            compression_level=compression_level,
            interval=interval,
            time_interval=time_interval,
            key=key,
        )

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.last_time_ = float("-inf")
        self.secret_: bytes | None = None
        self.run_id_ = str(uuid.uuid4())

    def configure(
        self,
        *,
        prefix: str | None,
        compression: str | None,
        compression_level: int | None,
        interval: int,
        time_interval: float,
        key: str | None = None,
    ) -> None:
        """Takes new settings, as the constructor does; also those of a resumed run."""
        if interval < 1:
            raise ConfigError(f"snapshotter.interval={interval} must be at least 1 (epochs between snapshots)")
        if time_interval < 0:
            raise ConfigError(f"snapshotter.time_interval={time_interval} must not be negative (seconds between snapshots)")
        self.prefix = prefix
        self.codec_name = codecs.find(compression).name
        self.level = codecs.find(compression).check_level(compression_level)
        self.interval = interval
        self.time_interval = time_interval
        self.key = key
        self.secret_ = None if key is None else read_key(key)

    @property
    def store(self) -> Store:
        """Where the snapshots go."""
        raise NotImplementedError

    @property
    def destination(self) -> str:
        """Where the snapshots go, for people."""
        raise NotImplementedError

    def initialize(self) -> None:
        placement.check(self)
        if self.key is not None:
            self.secret_ = read_key(self.key)

    def run(self) -> None:
        assert self.workflow is not None
        launcher = self.workflow.launcher
        stopping = launcher is not None and launcher.stop_requested
        if self.due:
            self.due_states += 1
            self.put_off = self.put_off or not self.skip
        if stopping or self.complete or (self.due and self.put_off and self._allowed()):
            self.export()
        if stopping and not self.complete:
            launcher.stop()

    def _allowed(self) -> bool:
        return self.due_states >= self.interval and time.monotonic() - self.last_time_ >= self.time_interval

    def export(self) -> str:
        """Takes a snapshot now; returns its location when it is durable."""
        header = self._header()
        before = self.put_off, self.due_states, self.last_uuid
        # What the restored run must find is set before the state is captured.
        self.put_off, self.due_states, self.last_uuid = False, 0, header.uuid
        codec = codecs.find(self.codec_name)
        try:
            assert self.workflow is not None
            written = write(self.workflow, header, codec, self.level, self.store, key=self.secret_)
        except BaseException:
            self.put_off, self.due_states, self.last_uuid = before
            raise
        self.last_time_ = time.monotonic()
        self.last_location = written.location
        _report(written, codec.name)
        return written.location

    def _header(self) -> Header:
        workflow = self.workflow
        assert workflow is not None
        launcher = workflow.launcher
        run_id = launcher.run_id if launcher else self.run_id_
        self.log_id = self.log_id or run_id
        prefix = self.prefix or workflow.name
        cls = type(workflow)
        return Header(
            name=f"{prefix}_{self.suffix}" if self.suffix else prefix,
            prefix=prefix,
            workflow=workflow.name,
            workflow_class=f"{cls.__module__}:{cls.__qualname__}",
            run_id=run_id,
            log_id=self.log_id,
            codec=self.codec_name,
            parent=self.last_uuid,
            versions=provenance.versions(),
            code=provenance.code(workflow),
            **workflow.progress(),
            **(launcher.provenance() if launcher else {}),
        )


class SnapshotterToFile(Snapshotter):
    """Takes snapshots into files of a folder.

    Args:
        directory: the folder; `snapshots` unless given.
    """

    def __init__(
        self, workflow: Workflow, name: str | None = None, *, directory: str | Path = "snapshots", **settings: object
    ) -> None:
        super().__init__(workflow, name, **settings)  # type: ignore[arg-type]
        self.directory = str(directory)

    @property
    def store(self) -> Store:
        return FileStore(self.directory)

    @property
    def destination(self) -> str:
        return self.directory


def _report(written: Written, codec: str) -> None:
    log.info(
        "Snapshot written: %s (%s -> %s %s, %.2f s)",
        written.location,
        _megabytes(written.state),
        _megabytes(written.stored),
        codec,
        written.seconds,
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
