"""Takes the snapshots of a process one after the other: into the store and with the codec that the time allows."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from runner.errors import StoreError
from runner.graph import Workflow
from runner.snapshots.capture.staging import default_limit
from runner.snapshots.capture.taking import Request, Written
from runner.snapshots.capture.writer import Writer
from runner.snapshots.codecs import Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.grace import Grace
from runner.snapshots.pace import Pace
from runner.snapshots.run_code import RunCode
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.stores.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """A snapshot that is wanted.

    Attributes:
        workflow: what it is taken of.
        settings: how.
        store: where it goes.
        key: what it is signed with; None if it is not signed.
        autosave: whether the next snapshot takes its place.
        heading: makes its header, by the codec and its level.
        done: called in the background when it is durable.
    """

    workflow: Workflow
    settings: SnapshotterSettings
    store: Store
    key: Key | None
    autosave: bool
    heading: Callable[[Codec, int], Header]
    done: Callable[[Header, Written], object]


class Exporter:
    """Takes a process's snapshots, and knows what they have cost.

    Attributes:
        writer: what writes them; None until it is needed.
        written: the last snapshot; None before the first.
        pace: when snapshots were taken, for when the next ones are due.
        code: the code of the run, which is kept with its snapshots.
    """

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.written: Written | None = None
        self.pace = Pace()
        self.code = RunCode()
        self._grace = Grace()
        self._order: Order | None = None
        self._hurried = False

    @property
    def autosaving(self) -> bool:
        """Whether the last snapshot is an autosave."""
        return self._order is not None and self._order.autosave

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written."""
        return self.writer is not None and self.writer.busy

    @property
    def unrestorable(self) -> bool:
        """Whether the default restore would refuse what was written."""
        return self.writer is not None and self.writer.unrestorable

    def prepare(self, workflow: Workflow, settings: SnapshotterSettings) -> None:
        """Makes memory ready for the first snapshot, which then pauses the run no longer than others.

        Raises:
            StateError: something in the workflow cannot be pickled.
        """
        if self.writer is None:
            self._own_writer(settings).prepare(workflow)

    def take(self, order: Order, *, may_hurry: bool = True) -> Written:
        """Captures a snapshot, which is then written in the background.

        Args:
            order: what is wanted.
            may_hurry: whether it goes to the spool first if time is short.

        Raises:
            StateError: something in the workflow cannot be pickled.
        """
        settings, left = order.settings, _time_left(order)
        self._order, self._hurried = order, may_hurry and left is not None
        store = order.store.hurried() if self._hurried else order.store
        codec, level = (settings.codec, settings.level) if left is None else self._grace.codec(settings, left)
        header = order.heading(codec, level)
        request = Request(
            *(header, codec, level, order.key, store),
            done=partial(self._on_written, order, header),
            on_unrestorable=settings.on_unrestorable,
            sampled=self._grace.needs_sample(settings),
            begin=partial(self.code.put, store),
            hurried=settings.grace is not None,  # with little time at a stop, what a snapshot takes must be known
        )
        self.written = self._own_writer(settings).submit(order.workflow, request, settings.blocking)
        return self.written

    def wait(self) -> None:
        """Waits until the last snapshot is written; one for which the spool has no room is taken again, for the store itself.

        Raises:
            SnapshotError: it was not written.
        """
        if self.writer is None:
            return
        try:
            self.writer.wait()
        except StoreError as error:
            if not self._hurried or self._order is None:
                raise
            log.warning("%s; the snapshot is taken again, for %s itself", error, self._order.store)
            began = time.monotonic()
            self.pace.add(self.take(self._order, may_hurry=False), began)
            self.writer.wait()

    def _on_written(self, order: Order, header: Header, written: Written) -> None:
        """Runs in the background when a snapshot is durable."""
        order.done(header, written)
        self._grace.add(written, order.settings)

    def _own_writer(self, settings: SnapshotterSettings) -> Writer:
        """Returns the writer of this process: threads do not survive a fork."""
        if self.writer is None or self.writer.process != os.getpid():
            self.writer = Writer(settings.workers, default_limit() if settings.staging is None else settings.staging)
        return self.writer


def _time_left(order: Order) -> float | None:
    """Returns the seconds until a run that was asked to stop is killed; None if it was not, or nobody knows."""
    grace, launcher = order.settings.grace, order.workflow.launcher
    if grace is None or launcher is None or launcher.stop_signal is None:
        return None
    return grace - (time.monotonic() - float(launcher.stopped_at))
