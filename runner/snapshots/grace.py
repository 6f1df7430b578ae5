"""Picks a codec with which a snapshot is durable in time, when the process will be killed soon after a stop signal."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from runner import cores
from runner.errors import ConfigError
from runner.snapshots.capture.taking import Written
from runner.snapshots.codecs import CODECS, Codec
from runner.snapshots.settings import SnapshotterSettings

log = logging.getLogger(__name__)

RESERVE = 1.5
"""A codec is in time if it needs no more than is left even if everything takes so much longer than before."""
_FIRST = 1 << 12
"""Bytes of a sample that are encoded before the time is taken: a library is loaded when it is first used."""


@dataclass(frozen=True)
class _Choice:
    """A codec, and how many seconds a snapshot takes with it."""

    codec: Codec
    level: int
    seconds: float

    def is_in_time(self, limit: float) -> bool:
        """Whether the snapshot is durable within so many seconds, with some reserve."""
        return self.seconds * RESERVE <= limit


class Grace:
    """Knows from the snapshots of this process how long the next one takes with each codec."""

    def __init__(self) -> None:
        self._last: Written | None = None
        self._speeds: list[tuple[Codec, float, float]] = []

    def needs_sample(self, settings: SnapshotterSettings) -> bool:
        """Whether the codecs are still to be measured."""
        return settings.grace is not None and not self._speeds

    def add(self, written: Written, settings: SnapshotterSettings) -> None:
        """Notes what a durable snapshot took. Measures the codecs on a sample of the first, and says what a stop comes to."""
        self._last, limit = written, settings.grace
        if not written.sample or limit is None:
            return
        self._speeds, written.sample = _speeds(written.sample), b""
        choice = self._choice(written, settings, limit)
        text = f"{choice.codec.name} {choice.level} (about {choice.seconds:.2g} s)"
        if not choice.is_in_time(limit):
            log.warning("snapshotter.grace=%g may be too short for a snapshot at a stop: the quickest codec is %s", limit, text)
        elif (choice.codec, choice.level) != (settings.codec, settings.level):
            log.info("snapshotter.grace=%g: at a stop the codec is %s; the last took %.2g s", limit, text, written.seconds)

    def codec(self, settings: SnapshotterSettings, left: float) -> tuple[Codec, int]:
        """Returns the codec and the level of a snapshot for which some seconds are left: the quickest, if need be."""
        if self._last is None:
            return settings.codec, settings.level
        choice = self._choice(self._last, settings, left)
        if not choice.is_in_time(left):
            log.warning("The snapshot may come too late: it takes about %.2g s, and %.2g s are left", choice.seconds, left)
        return choice.codec, choice.level

    def _choice(self, last: Written, settings: SnapshotterSettings, limit: float) -> _Choice:
        configured = _Choice(settings.codec, settings.level, last.seconds)
        if configured.is_in_time(limit):
            return configured
        workers = settings.workers or cores.usable()
        choices = [configured]
        for codec, rate, ratio in self._speeds:
            storing = last.storing * ratio * last.state / last.stored
            choices.append(_Choice(codec, codec.default_level, last.pause + last.state / rate / workers + storing))
        return min(choices, key=lambda choice: choice.seconds)


def _speeds(sample: bytes) -> list[tuple[Codec, float, float]]:
    """Measures each codec whose library is installed, at its default level.

    Returns:
        The codec, the bytes that a thread encodes in a second, and the bytes written for each byte of the state.
    """
    found = []
    for codec in CODECS.values():
        try:
            codec.encode(sample[:_FIRST], codec.default_level)
        except ConfigError:
            continue
        began = time.thread_time()
        size = len(codec.encode(sample, codec.default_level))
        found.append((codec, len(sample) / max(time.thread_time() - began, 1e-9), size / len(sample)))
    return found
